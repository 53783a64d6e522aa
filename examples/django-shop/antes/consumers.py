from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.utils import timezone

from ventas.models import Notificacion


class NotificacionesConsumer(AsyncJsonWebsocketConsumer):
    grupos = ()

    async def connect(self):
        usuario = self.scope["user"]
        if usuario.is_anonymous:
            await self.close()
            return
        self.grupos = (f"notificaciones_usuario_{usuario.pk}", f"usuario_{usuario.pk}", "tienda")
        for grupo in self.grupos:
            await self.channel_layer.group_add(grupo, self.channel_name)
        await self.accept()
        await self.send_json(
            {
                "type": "connection_established",
                "message": f"Hola, {usuario.get_short_name()}. Conectado al sistema de notificaciones.",
            }
        )

    async def disconnect(self, code):
        for grupo in self.grupos:
            await self.channel_layer.group_discard(grupo, self.channel_name)

    async def receive_json(self, content):
        if content.get("action") == "marcar_leida":
            ids = content.get("ids", [])
            sin_leer = await self.marcar_leida(ids)
            await self.channel_layer.group_send(
                self.grupos[0], {"type": "notificacion_leida", "ids": ids, "sin_leer": sin_leer}
            )

    @database_sync_to_async
    def marcar_leida(self, ids):
        avisos = Notificacion.objects.filter(usuario=self.scope["user"])
        avisos.filter(id__in=ids, leida=None).update(leida=timezone.now())
        return avisos.filter(leida=None).count()

    async def notificacion_nueva(self, event):
        await self.send_json(
            {
                "type": "nueva_venta",
                "id": event["id"],
                "titulo": event["titulo"],
                "mensaje": event["mensaje"],
                "monto": event["monto"],
                "timestamp": event["timestamp"],
            }
        )

    async def reenviar(self, event):
        await self.send_json(event)

    notificacion_leida = reenviar
    imagen_progreso = reenviar
    imagen_procesada = reenviar
    imagen_fallida = reenviar
    existencias = reenviar
    resumen = reenviar
