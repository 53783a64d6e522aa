from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


class Producto(models.Model):
    vendedor = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="productos")
    nombre = models.CharField(max_length=80)
    dibujo = models.SlugField(max_length=20)
    precio = models.PositiveIntegerField(help_text="pesos")
    existencias = models.PositiveIntegerField()

    def __str__(self):
        return self.nombre


class Venta(models.Model):
    producto = models.ForeignKey(Producto, models.PROTECT, related_name="ventas")
    comprador = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="compras")
    monto = models.PositiveIntegerField(help_text="pesos")
    creada = models.DateTimeField(auto_now_add=True, db_index=True)

    @classmethod
    def resumen(cls):
        """How the last minute went."""
        ahora = timezone.now()
        ventas = cls.objects.filter(creada__gte=ahora - timedelta(minutes=1))
        totales = ventas.aggregate(ventas=models.Count("id"), monto=models.Sum("monto", default=0))
        return totales | {"timestamp": ahora.isoformat()}


class Notificacion(models.Model):
    usuario = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notificaciones")
    # One per sale: a task that runs twice finds its notice written.
    venta = models.OneToOneField(Venta, models.CASCADE)
    titulo = models.CharField(max_length=80)
    mensaje = models.CharField(max_length=200)
    monto = models.PositiveIntegerField(help_text="pesos")
    creada = models.DateTimeField(auto_now_add=True)
    leida = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def evento(self):
        return {
            "type": "notificacion_nueva",
            "id": self.id,
            "titulo": self.titulo,
            "mensaje": self.mensaje,
            "monto": self.monto,
            "timestamp": self.creada.isoformat(),
        }
