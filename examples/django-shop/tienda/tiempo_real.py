"""What browsers may ask over their WebSocket, and who they are. Two views, no ASGI."""

from django.utils import timezone

import groupcast
from ventas.models import Notificacion


@groupcast.connect
def conectar(request):
    """The heir of the consumer's connect(): the session has said who it is."""
    if not request.user.is_authenticated:
        return None
    hora = timezone.localtime().hour
    saludo = "Buenos días" if hora < 12 else "Buenas tardes" if hora < 19 else "Buenas noches"
    mensaje = f"{saludo}, {request.user.get_short_name()}. Las ventas llegan en vivo."
    return {"welcome": {"type": "connection_established", "message": mensaje}}


@groupcast.call("marcar_leida")
def marcar_leida(request, data):
    """Stores it; all of the user's pages paint it when the event says so."""
    avisos = Notificacion.objects.filter(usuario=request.user)
    ids = [numero for numero in data.get("ids", []) if isinstance(numero, int)][:500]
    avisos.filter(id__in=ids, leida=None).update(leida=timezone.now())
    sin_leer = avisos.filter(leida=None).count()
    evento = {"type": "notificacion_leida", "ids": ids, "sin_leer": sin_leer}
    groupcast.send(f"notificaciones_usuario_{request.user.pk}", evento)
    return {"sin_leer": sin_leer}
