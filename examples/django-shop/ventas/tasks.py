"""What happens after a sale, and once a minute."""

import json

import redis
from asgiref.sync import async_to_sync
from celery import shared_task
from channels.layers import get_channel_layer
from django.conf import settings

import groupcast
from ventas.models import Notificacion, Producto, Venta


@shared_task
def avisar_venta(venta_id):
    """Tells the seller. The group_send is the line that the shop had with Daphne."""
    venta = Venta.objects.select_related("producto", "comprador").get(id=venta_id)
    vendedor = venta.producto.vendedor_id
    aviso, _ = Notificacion.objects.get_or_create(
        venta=venta,
        defaults={
            "usuario_id": vendedor,
            "titulo": "¡Nueva venta!",
            "mensaje": f"{venta.comprador.get_short_name()} compró «{venta.producto.nombre}»",
            "monto": venta.monto,
        },
    )
    async_to_sync(get_channel_layer().group_send)(f"notificaciones_usuario_{vendedor}", aviso.evento())


@shared_task
def publicar_existencias(producto_id):
    """Tells everybody how many are left, by the ingress stream: plain Redis, from any language."""
    producto = Producto.objects.get(id=producto_id)
    evento = {"type": "existencias", "producto": producto.id, "quedan": producto.existencias}
    redis.Redis.from_url(f"{settings.REDIS}/0").xadd(
        "groupcast:ingress", {"group": "tienda", "event": json.dumps(evento)}
    )


@shared_task
def publicar_resumen():
    """Tells everybody how the shop is doing: by POST to the gateway."""
    groupcast.send("tienda", {"type": "resumen", **Venta.resumen()})
