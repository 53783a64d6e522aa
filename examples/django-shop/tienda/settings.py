"""The shop's settings, as in production: what differs between machines comes from the environment."""

from os import environ
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(environ["TIENDA_DATA"])
REDIS = environ["TIENDA_REDIS"]

SECRET_KEY = environ["TIENDA_SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = environ.get("TIENDA_HOSTS", "127.0.0.1 localhost").split()

# No "daphne", no "channels": the push connections are Groupcast's.
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ventas",
    "fotos",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "tienda.urls"
WSGI_APPLICATION = "tienda.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Web processes and workers write side by side: WAL lets readers go on, and IMMEDIATE makes a writer
# wait for its turn at the start of a transaction instead of failing in the middle of it.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "tienda.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "entrar"
LOGIN_REDIRECT_URL = "panel"
LOGOUT_REDIRECT_URL = "entrar"
AUTH_PASSWORD_VALIDATORS = []

LANGUAGE_CODE = "es"
TIME_ZONE = "America/Bogota"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = DATA_DIR / "fotos"
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# The nginx before the site says what the browser used.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"

# As it was with Daphne, but for channel_capacity: one mailbox now stands for all browsers, so it may
# hold more than what was meant for a process.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [f"{REDIS}/0"],
            "channel_capacity": {"groupcast.*": 10000},
        },
    },
}

GROUPCAST = {
    "API": environ["TIENDA_GROUPCAST_API"],
    "KEY": environ["TIENDA_GROUPCAST_KEY"],
    "SECRET": environ["TIENDA_GROUPCAST_SECRET"],
}

CELERY_BROKER_URL = environ.get("TIENDA_BROKER", f"{REDIS}/1")
CELERY_RESULT_BACKEND = environ.get("TIENDA_RESULTS", f"{REDIS}/2")
CELERY_RESULT_EXPIRES = 3600
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {
    "resumen": {
        "task": "ventas.tasks.publicar_resumen",
        "schedule": float(environ.get("TIENDA_RESUMEN_SEGUNDOS", "60")),
    },
}

# The service that says whether a photo may be shown.
REVISION_URL = environ["TIENDA_REVISION"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "ventas": {"level": "INFO"},
        "fotos": {"level": "INFO"},
        "channels_redis": {"level": "INFO"},
    },
}
