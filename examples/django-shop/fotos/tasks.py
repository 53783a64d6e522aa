"""The image pipeline: a chord of thumbnails, metadata and content check; then one group_send."""

import http.client
import logging
import urllib.request
from urllib.parse import quote

from asgiref.sync import async_to_sync
from celery import chord, group, shared_task
from channels.layers import get_channel_layer
from django.conf import settings
from PIL import ExifTags, Image, ImageOps

import groupcast
from fotos.models import ANCHOS, Imagen

logger = logging.getLogger(__name__)

EXIF = {
    "camara": ExifTags.Base.Model,
    "tomada": ExifTags.Base.DateTimeOriginal,
    "iso": ExifTags.Base.ISOSpeedRatings,
}


def procesar(imagen):
    """Starts the pipeline of one image. Its bar counts the steps of the chord: nothing is sent for it."""
    miniaturas = [miniatura.s(imagen.id, ancho) for ancho in ANCHOS]
    pasos = group(*miniaturas, metadatos.s(imagen.id), revisar.s(imagen.id))
    fin = terminar.s(imagen.id).on_error(fallar.s(imagen.id))
    tarea = chord(pasos)(fin)
    groupcast.task_group(tarea)  # stores which steps it has, so that they are counted
    imagen.tarea = tarea.id
    imagen.save(update_fields=["tarea"])


def avisar(usuario_id, evento):
    async_to_sync(get_channel_layer().group_send)(f"usuario_{usuario_id}", evento)


def avisar_progreso(imagen, paso, estado, **mas):
    evento = {"type": "imagen_progreso", "imagen_id": imagen.id, "paso": paso, "estado": estado}
    avisar(imagen.usuario_id, evento | mas)


@shared_task
def miniatura(imagen_id, ancho):
    imagen = Imagen.objects.get(id=imagen_id)
    destino = imagen.miniatura(ancho)
    destino.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(imagen.original.path) as original:
        derecha = ImageOps.exif_transpose(original).convert("RGB")
    derecha.thumbnail((ancho, ancho), Image.Resampling.LANCZOS)
    derecha.save(destino, "WEBP", quality=82)
    avisar_progreso(imagen, f"miniatura {ancho}", "listo")
    return {}


@shared_task
def metadatos(imagen_id):
    imagen = Imagen.objects.get(id=imagen_id)
    with Image.open(imagen.original.path) as original:
        datos = {"ancho": original.width, "alto": original.height}
        exif = original.getexif()
    exif = dict(exif) | exif.get_ifd(ExifTags.IFD.Exif)
    datos |= {nombre: str(exif[tag])[:80] for nombre, tag in EXIF.items() if tag in exif}
    avisar_progreso(imagen, "metadatos", "listo")
    return datos


class RevisionFallida(Exception):
    """The content check did not answer, or not well."""


def pedir_revision(imagen):
    with imagen.original.open() as archivo:
        foto = archivo.read()
    headers = {"X-Photo": str(imagen.id), "X-Name": quote(imagen.nombre)}
    request = urllib.request.Request(settings.REVISION_URL, data=foto, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            response.read()
    except (OSError, http.client.HTTPException) as error:
        raise RevisionFallida(str(error)) from error


@shared_task(bind=True, max_retries=3)
def revisar(self, imagen_id):
    """Asks the service that fails now and then; waits 1, 2 and 4 s before it asks again."""
    imagen = Imagen.objects.get(id=imagen_id)
    try:
        pedir_revision(imagen)
    except RevisionFallida as error:
        intento, espera = self.request.retries + 1, 2**self.request.retries
        logger.info("content check of %s, try %s: %s", imagen_id, intento, error)
        if intento > self.max_retries:
            imagen.motivo = f"El servicio de revisión falló {intento} veces."
            imagen.save(update_fields=["motivo"])
            raise
        avisar_progreso(imagen, "revisión", "reintento", intento=intento, espera=espera)
        raise self.retry(exc=error, countdown=espera) from error
    avisar_progreso(imagen, "revisión", "listo")
    return {}


@shared_task(bind=True)
def terminar(self, resultados, imagen_id):
    self.update_state(state="PROGRESS", meta={"percent": 95, "text": "guardando"})
    imagen = Imagen.objects.get(id=imagen_id)
    for datos in resultados:
        imagen.datos |= datos
    imagen.estado = Imagen.Estado.LISTA
    imagen.save(update_fields=["datos", "estado"])
    async_to_sync(get_channel_layer().group_send)(
        f"usuario_{imagen.usuario_id}",
        {
            "type": "imagen_procesada",
            "imagen_id": imagen.id,
            "url_thumbnail": imagen.url_thumbnail(),
        },
    )


@shared_task
def fallar(request, exc, traceback, imagen_id):
    """The chord's errback. Celery may call it once for each step that failed; the first one counts."""
    procesando = Imagen.objects.filter(id=imagen_id, estado=Imagen.Estado.PROCESANDO)
    if not procesando.update(estado=Imagen.Estado.FALLIDA):
        return
    imagen = Imagen.objects.get(id=imagen_id)
    motivo = imagen.motivo or "Un paso del proceso falló."
    avisar(imagen.usuario_id, {"type": "imagen_fallida", "imagen_id": imagen_id, "motivo": motivo})
