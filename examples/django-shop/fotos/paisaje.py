"""Paints a landscape, so that the pipeline can be tried without a photo at hand."""

import io
import math
import random
from datetime import datetime

from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFilter

ANCHO, ALTO = 1920, 1280
CIELOS = [
    ((28, 38, 84), (244, 143, 108)),
    ((64, 142, 206), (230, 240, 246)),
    ((46, 26, 71), (250, 186, 120)),
    ((20, 74, 92), (246, 226, 170)),
]
SIERRAS = [(96, 108, 150), (66, 84, 118), (42, 62, 84), (22, 38, 48)]


def paisaje(semilla):
    """A JPEG with EXIF; the same for the same seed."""
    chance = random.Random(semilla)
    arriba, abajo = CIELOS[semilla % len(CIELOS)]
    foto = Image.new("RGB", (ANCHO, ALTO))
    pincel = ImageDraw.Draw(foto)
    for y in range(ALTO):
        pincel.line([(0, y), (ANCHO, y)], mezcla(arriba, abajo, min(1, y / (ALTO * 0.65))))
    x, y, radio = chance.randint(300, 1600), chance.randint(260, 560), chance.randint(70, 120)
    halo = Image.new("RGB", foto.size)
    ImageDraw.Draw(halo).ellipse(
        [x - 2 * radio, y - 2 * radio, x + 2 * radio, y + 2 * radio], (120, 96, 60)
    )
    foto = ImageChops.screen(foto, halo.filter(ImageFilter.GaussianBlur(90)))
    pincel = ImageDraw.Draw(foto)
    pincel.ellipse([x - radio, y - radio, x + radio, y + radio], (255, 236, 196))
    for orden, color in enumerate(SIERRAS):
        altura = ALTO * (0.5 + 0.12 * orden)
        pincel.polygon(
            sierra(chance, altura, 170 - 30 * orden), mezcla(color, abajo, 0.35 - 0.1 * orden)
        )
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Tienda"
    exif[ExifTags.Base.Model] = "Pincel 1.0"
    ifd = exif.get_ifd(ExifTags.IFD.Exif)
    ifd[ExifTags.Base.DateTimeOriginal] = f"{datetime.now():%Y:%m:%d %H:%M:%S}"
    ifd[ExifTags.Base.ISOSpeedRatings] = 100
    salida = io.BytesIO()
    foto.save(salida, "JPEG", quality=88, exif=exif)
    return salida.getvalue()


def mezcla(uno, otro, parte):
    parte = max(0, parte)
    return tuple(round(a + (b - a) * parte) for a, b in zip(uno, otro, strict=True))


def sierra(chance, altura, alto):
    """A ridge: three waves of different lengths."""
    olas = [(chance.uniform(0.6, 1.4) * 2**n, chance.uniform(0, 6.3), alto / 1.8**n) for n in range(4)]
    cima = [
        (x, altura - sum(a * math.sin(f * x / 300 + p) for f, p, a in olas) * 0.6)
        for x in range(0, ANCHO + 8, 8)
    ]
    return [(0, ALTO), *cima, (ANCHO, ALTO)]
