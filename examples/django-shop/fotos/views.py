from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import FileResponse, Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST
from PIL import Image

from fotos.models import ANCHOS, Imagen
from fotos.paisaje import paisaje
from fotos.tasks import procesar

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 50_000_000
FORMATOS = ("JPEG", "PNG", "WEBP")


@login_required
@require_POST
def subir(request):
    archivo = request.FILES.get("foto")
    if archivo is None:
        return JsonResponse({"error": "Falta la foto."}, status=400)
    if archivo.size > MAX_BYTES:
        return JsonResponse({"error": "La foto pesa más de 10 MB."}, status=413)
    try:
        with Image.open(archivo, formats=FORMATOS) as foto:
            too_large = foto.width * foto.height > MAX_PIXELS
            foto.verify()
    except Exception:  # Pillow raises whatever a broken file makes it raise.
        return JsonResponse({"error": "No es una foto JPEG, PNG o WebP."}, status=415)
    if too_large:
        return JsonResponse({"error": "La foto tiene más de 50 megapíxeles."}, status=413)
    archivo.seek(0)
    with transaction.atomic():
        imagen = Imagen.objects.create(
            usuario=request.user, nombre=archivo.name[:120], original=archivo
        )
        transaction.on_commit(lambda: procesar(imagen))
    return JsonResponse(imagen.resumen(), status=201)


@login_required
@require_GET
def detalle(request, imagen_id):
    return JsonResponse(get_object_or_404(Imagen, id=imagen_id, usuario=request.user).resumen())


@login_required
@require_GET
def miniatura(request, imagen_id, ancho):
    imagen = get_object_or_404(Imagen, id=imagen_id, usuario=request.user)
    if ancho not in ANCHOS or not imagen.miniatura(ancho).exists():
        raise Http404
    response = FileResponse(imagen.miniatura(ancho).open("rb"), content_type="image/webp")
    response["Cache-Control"] = "private, max-age=86400"
    return response


@login_required
@require_GET
def ejemplo(request, semilla):
    """A photo to try the pipeline with."""
    return HttpResponse(paisaje(semilla), content_type="image/jpeg")
