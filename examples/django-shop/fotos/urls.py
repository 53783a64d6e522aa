from django.urls import path

from fotos import views

urlpatterns = [
    path("", views.subir, name="subir"),
    path("<int:imagen_id>/", views.detalle, name="foto"),
    path("<int:imagen_id>/<int:ancho>.webp", views.miniatura, name="miniatura"),
    path("ejemplo/<int:semilla>.jpg", views.ejemplo, name="ejemplo"),
]
