import os

from celery import Celery

import groupcast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tienda.settings")

app = Celery("tienda")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
groupcast.celery.install(app)  # only for results by rpc://: their progress as events of workers
