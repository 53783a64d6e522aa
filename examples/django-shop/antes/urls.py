"""The shop's pages, and one more whose WebSocket ends in the consumer."""

from django.urls import path

from tienda.urls import urlpatterns as tienda
from ventas import views

urlpatterns = [*tienda, path("antes/", views.panel, {"conexion": "daphne"}, name="antes")]
