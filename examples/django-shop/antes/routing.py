from django.urls import path

from antes.consumers import NotificacionesConsumer

websocket_urlpatterns = [
    path("ws-antes/notificaciones/", NotificacionesConsumer.as_asgi()),
]
