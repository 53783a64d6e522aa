from pathlib import Path

from django.conf import settings
from django.db import models
from django.urls import reverse

import groupcast

ANCHOS = (160, 480, 1280)


class Imagen(models.Model):
    class Estado(models.TextChoices):
        PROCESANDO = "procesando"
        LISTA = "lista"
        FALLIDA = "fallida"

    usuario = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="fotos")
    nombre = models.CharField(max_length=120)
    original = models.FileField(upload_to="originales/")
    estado = models.CharField(max_length=10, choices=Estado, default=Estado.PROCESANDO)
    datos = models.JSONField(default=dict, help_text="what the photo says of itself: EXIF and size")
    tarea = models.CharField(max_length=40, blank=True, help_text="the last task of its pipeline")
    revision = models.CharField(max_length=40, blank=True, help_text="the task of its content check")
    motivo = models.CharField(max_length=200, blank=True)
    creada = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def miniatura(self, ancho):
        return Path(settings.MEDIA_ROOT) / "miniaturas" / f"{self.id}-{ancho}.webp"

    def url_thumbnail(self, ancho=480):
        return reverse("miniatura", args=[self.id, ancho])

    def resumen(self):
        lista = self.estado == self.Estado.LISTA
        mira = self.tarea and self.estado == self.Estado.PROCESANDO
        return {
            "id": self.id,
            "nombre": self.nombre,
            "estado": self.estado,
            "datos": self.datos,
            "motivo": self.motivo,
            "url_thumbnail": self.url_thumbnail() if lista else None,
            "barra": self.barra(self.tarea) if mira else None,
            "revision": self.barra(self.revision) if mira and self.revision else None,
        }

    def barra(self, tarea):
        """What <groupcast-progress> needs; `{% groupcast_progress %}` writes the same into a page."""
        return {
            "group": groupcast.task_group(tarea),
            "ticket": groupcast.ticket(tarea, self.usuario),
        }
