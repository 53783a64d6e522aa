"""The image pipeline: a chord of thumbnails, metadata and content check; then one group_send.

Where results go by rpc:// Celery has no chords: there the same steps are a chain.
"""

import http.client
import logging
import urllib.request
from urllib.parse import quote

from asgiref.sync import async_to_sync
from celery import chain, chord, group, shared_task
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
    """Starts the pipeline of one image. Its bar counts the steps: nothing is sent for it."""
    pasos = [miniatura.si(imagen.id, ancho) for ancho in ANCHOS]
    pasos += [metadatos.si(imagen.id), revisar.si(imagen.id)]
    fin, error = terminar.si(imagen.id), fallar.s(imagen.id)
    if settings.CELERY_RESULT_BACKEND.startswith("rpc"):
        tarea = chain(*pasos, fin).on_error(error).apply_async()
        imagen.revision = tarea.parent.id
    else:
        tarea = chord(group(*pasos))(fin.on_error(error))
        imagen.revision = tarea.parent.results[-1].id
    groupcast.task_group(tarea)  # tells which steps it has, so that they are counted
    imagen.tarea = tarea.id
    imagen.save(update_fields=["tarea", "revision"])


def avisar(usuario_id, evento):
    async_to_sync(get_channel_layer().group_send)(f"usuario_{usuario_id}", evento)


def avisar_progreso(imagen, paso):
    evento = {"type": "imagen_progreso", "imagen_id": imagen.id, "paso": paso, "estado": "listo"}
    avisar(imagen.usuario_id, evento)


def reducir(imagen, ancho):
    destino = imagen.miniatura(ancho)
    destino.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(imagen.original.path) as original:
        derecha = ImageOps.exif_transpose(original).convert("RGB")
    derecha.thumbnail((ancho, ancho), Image.Resampling.LANCZOS)
    derecha.save(destino, "WEBP", quality=82)


@shared_task
def miniatura(imagen_id, ancho):
    imagen = Imagen.objects.get(id=imagen_id)
    reducir(imagen, ancho)
    avisar_progreso(imagen, f"miniatura {ancho}")


@shared_task
def metadatos(imagen_id):
    imagen = Imagen.objects.get(id=imagen_id)
    with Image.open(imagen.original.path) as original:
        datos = {"ancho": original.width, "alto": original.height}
        exif = original.getexif()
    exif = dict(exif) | exif.get_ifd(ExifTags.IFD.Exif)
    datos |= {nombre: str(exif[tag])[:80] for nombre, tag in EXIF.items() if tag in exif}
    imagen.datos = datos
    imagen.save(update_fields=["datos"])
    avisar_progreso(imagen, "metadatos")


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
    """Asks the service that fails now and then; waits 1, 2 and 4 s before it asks again.

    The page sees each retry as the state RETRY of this task.
    """
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
        raise self.retry(exc=error, countdown=espera) from error
    avisar_progreso(imagen, "revisión")


@shared_task(bind=True)
def reprocesar(self, imagen_id, usuario):
    """Makes the thumbnails anew. The page starts it by a call; the gateway says whose page it is."""
    imagen = Imagen.objects.get(id=imagen_id, usuario_id=usuario)
    imagen.estado, imagen.tarea, imagen.revision = Imagen.Estado.PROCESANDO, self.request.id, ""
    imagen.save(update_fields=["estado", "tarea", "revision"])
    for hechas, ancho in enumerate(ANCHOS, start=1):
        reducir(imagen, ancho)
        self.update_state(state="PROGRESS", meta={"current": hechas, "total": len(ANCHOS)})
    lista(imagen)


@shared_task(bind=True)
def terminar(self, imagen_id):
    self.update_state(state="PROGRESS", meta={"percent": 95, "text": "guardando"})
    lista(Imagen.objects.get(id=imagen_id))


def lista(imagen):
    imagen.estado = Imagen.Estado.LISTA
    imagen.save(update_fields=["estado"])
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
