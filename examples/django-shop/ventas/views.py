from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import F
from django.http import JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from fotos.models import Imagen
from ventas.models import Notificacion, Producto, Venta
from ventas.tasks import avisar_venta, publicar_existencias, publicar_resumen


def estado(usuario):
    """All that the page shows, as it is now."""
    return {
        "usuario": usuario.id,
        "resumen": Venta.resumen(),
        "sin_leer": usuario.notificaciones.filter(leida=None).count(),
        "productos": [
            {
                "id": producto.id,
                "nombre": producto.nombre,
                "dibujo": producto.dibujo,
                "precio": producto.precio,
                "quedan": producto.existencias,
                "vendedor": producto.vendedor.get_short_name(),
                "propio": producto.vendedor_id == usuario.id,
            }
            for producto in Producto.objects.select_related("vendedor").order_by("id")
        ],
        "notificaciones": [
            aviso.evento() | {"leida": aviso.leida is not None}
            for aviso in Notificacion.objects.filter(usuario=usuario)[:20]
        ],
        "fotos": [imagen.resumen() for imagen in Imagen.objects.filter(usuario=usuario)[:12]],
    }


@login_required
@require_GET
def panel(request, conexion):
    return render(request, "panel.html", {"conexion": conexion, "estado": estado(request.user)})


@login_required
@require_GET
def estado_json(request):
    return JsonResponse(estado(request.user))


@login_required
@require_POST
def comprar(request, producto_id):
    with transaction.atomic():
        producto = get_object_or_404(Producto, id=producto_id)
        if producto.vendedor_id == request.user.id:
            return JsonResponse({"error": "Este producto es tuyo."}, status=409)
        hay = Producto.objects.filter(id=producto_id, existencias__gt=0)
        if not hay.update(existencias=F("existencias") - 1):
            return JsonResponse({"error": "Se agotó."}, status=409)
        venta = Venta.objects.create(producto=producto, comprador=request.user, monto=producto.precio)
        transaction.on_commit(lambda: avisar_venta.delay(venta.id))
        transaction.on_commit(lambda: publicar_existencias.delay(producto.id))
        transaction.on_commit(publicar_resumen.delay)
    return JsonResponse({"venta": venta.id}, status=201)
