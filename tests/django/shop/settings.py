"""A project as it runs in production: no DEBUG, HTTPS behind a proxy, CSRF and secure cookies on."""

import os
import tempfile
from pathlib import Path

DEBUG = False
SECRET_KEY = "of the tests, and of nothing else"
ALLOWED_HOSTS = ["tienda.example", "testserver"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SECURE_SSL_REDIRECT = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True

# A file, so that threads and the server under test see one database.
_FOLDER = Path(tempfile.mkdtemp(prefix="groupcast-django-"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        # The server that a test starts is told which one the test has.
        "NAME": os.environ.get("SHOP_DATABASE", _FOLDER / "db.sqlite3"),
        "TEST": {"NAME": _FOLDER / "test.sqlite3"},
        "ATOMIC_REQUESTS": True,
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

GROUPCAST = {
    "API": "http://127.0.0.1:1",  # nobody; tests with a gateway say where it is
    "KEY": "key of the tests, not secret",
    "SECRET": "an example secret of 32 bytes or more",
}
