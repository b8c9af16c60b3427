"""The same kind of mistakes, written another way: dictionaries that are put together, and names from elsewhere."""

import logging.handlers
import os

SECRET_KEY = "newsroom"
DEBUG = False
ALLOWED_HOSTS = [".newsroom.example"]
ROOT_URLCONF = "tests.urls"
INSTALLED_APPS = ["django.contrib.sessions", "django_asgi_deploy"]
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # expect: 108 error


def database(name, **more):
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "HOST": "db", **more}


DATABASES = {
    "default": database("newsroom", CONN_MAX_AGE=None),  # expect: 101 error
    "archive": database("archive", OPTIONS={"pool": {"timeout": 5}}),  # expect: 103 warning
    "stats": database("stats"),  # expect: 105 warning
}
DATABASES["pooled"] = database("pooled", CONN_MAX_AGE=5, OPTIONS={"pool": True})  # expect: 102 error

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "TIMEOUT": 60}}  # expect: 109 warning
SESSION_ENGINE = "django.contrib.sessions.backends.file"  # expect: 110 warning

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}  # expect: 111 warning


class AuditHandler(logging.handlers.SocketHandler):
    """Sends to the audit machine."""


LOGGING = dict(  # noqa: C408 # expect: 112 error
    version=1,
    disable_existing_loggers=True,
    handlers={
        "audit": {"class": f"{__name__}.AuditHandler", "host": "audit.internal", "port": 9020},
        "daily": {  # expect: 114 warning
            "class": "logging.handlers.TimedRotatingFileHandler",
            "filename": "/var/log/newsroom.log",
            "delay": True,
        },
    },
    root={"handlers": ["audit", "daily"], "level": "WARNING"},  # expect: 113 warning
)

SECURE_SSL_REDIRECT = True  # expect: 115 warning
ASGI_DEPLOY = {"HANDLER": "django", "BIND": ["0.0.0.0:80"], "WORKERS": 2}
