from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from tienda import tiempo_real  # noqa: F401  what browsers may ask, registered by being imported

urlpatterns = [
    path("", include("ventas.urls")),
    path("fotos/", include("fotos.urls")),
    path("entrar/", LoginView.as_view(redirect_authenticated_user=True), name="entrar"),
    path("salir/", LogoutView.as_view(), name="salir"),
    path("groupcast/", include("groupcast")),
]
