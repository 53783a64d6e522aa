from django.contrib.auth.views import LogoutView
from django.http import HttpResponse
from django.urls import include, path

import groupcast
from shop import realtime  # noqa: F401  registers what browsers may ask


def sale(request):
    """Sends, then fails if asked to: what is sent depends on the request's transaction."""
    groupcast.send("seller_1", {"type": "sale", "amount": 5})
    if "fail" in request.GET:
        raise RuntimeError("after the send")
    return HttpResponse("sold")


urlpatterns = [
    path("groupcast/", include("groupcast")),
    path("sale", sale),
    path("logout", LogoutView.as_view(next_page="/"), name="logout"),
    path("", lambda request: HttpResponse("home")),
]
