"""A project in production: no DEBUG, HTTPS behind a proxy, CSRF and secure cookies on."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import groupcast

DEBUG = False
SECRET_KEY = "of the tests, and of nothing else"
ALLOWED_HOSTS = ["tienda.example", "testserver"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "groupcast.GroupcastConfig",
    "shop",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Where the helper is one file; the package has its tags where Django looks for them.
        "OPTIONS": {
            "libraries": {} if hasattr(groupcast, "__path__") else {"groupcast": "groupcast"}
        },
    }
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


def _database_folder():
    """A folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="groupcast-django-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


# A file, so that threads and the server under test share one database. The server that a test
# starts gets the name of the test's.
_DATABASE = Path(os.environ.get("SHOP_DATABASE") or _database_folder() / "db.sqlite3")
# Processes that tests start are often killed: one that made a folder would leave it behind.
os.environ["SHOP_DATABASE"] = str(_DATABASE)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _DATABASE,
        "TEST": {"NAME": _DATABASE.with_name("test.sqlite3")},
        "ATOMIC_REQUESTS": True,
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

GROUPCAST = {
    "API": "http://127.0.0.1:1",  # nothing listens there; tests with a gateway name theirs
    "KEY": "key of the tests, not secret",
    "SECRET": "an example secret of 32 bytes or more",
}
