from django.urls import path

from ventas import views

urlpatterns = [
    path("", views.panel, {"conexion": "groupcast"}, name="panel"),
    path("simple/", views.panel, {"conexion": "websocket"}, name="simple"),
    path("estado/", views.estado_json, name="estado"),
    path("comprar/<int:producto_id>/", views.comprar, name="comprar"),
]
