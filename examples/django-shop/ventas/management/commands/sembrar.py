import json
import sys

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from ventas.models import Producto

PRODUCTOS = {
    "ana": [
        ("Taza de barro", "taza", 38_000),
        ("Lámpara de mesa", "lampara", 129_900),
        ("Cuaderno cosido", "cuaderno", 24_500),
    ],
    "bea": [
        ("Mochila wayuu", "mochila", 189_000),
        ("Planta colgante", "planta", 45_000),
        ("Audífonos", "audifonos", 210_000),
    ],
}


class Command(BaseCommand):
    help = 'Makes the demo\'s users and products. Reads {"ana": password, "bea": password} from stdin.'

    def handle(self, **options):
        for nombre, clave in json.load(sys.stdin).items():
            usuario, _ = get_user_model().objects.get_or_create(
                username=nombre, defaults={"first_name": nombre.capitalize()}
            )
            usuario.set_password(clave)
            usuario.save()
            for producto, dibujo, precio in PRODUCTOS[nombre]:
                Producto.objects.get_or_create(
                    vendedor=usuario,
                    nombre=producto,
                    defaults={"dibujo": dibujo, "precio": precio, "existencias": 60},
                )
