"""A bookshop in production, behind nginx on another machine, on Django's own handler."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ.get("BOOKSHOP_SECRET_KEY", "not-a-secret-in-a-test")
DEBUG = False
ALLOWED_HOSTS = ["bookshop.example"]
ROOT_URLCONF = "tests.urls"

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # expect: 108 error

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_asgi_deploy",
]
STATIC_URL = "/static/"  # expect: 121 warning

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "bookshop",
        "HOST": "db.internal",
        "CONN_MAX_AGE": 600,  # expect: 101 error
    },
    "replica": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "bookshop",
        "HOST": "replica.internal",
        "CONN_MAX_AGE": 60,  # expect: 102 error
        "OPTIONS": {"pool": {"min_size": 2, "max_size": 16}},
    },
    "reports": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "reports",
        "OPTIONS": {"pool": True},  # expect: 103 warning
    },
    "orders": {  # expect: 105 warning
        "ENGINE": "django.db.backends.mysql",
        "NAME": "orders",
        "HOST": "mysql.internal",
    },
    "archive": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "archive",
        "HOST": "pgbouncer",
        "PORT": 6432,
        "CONN_MAX_AGE": 0,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    },
}

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},  # expect: 109 error
    "pages": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://cache.internal:6379"},
}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

LOGGING = {  # expect: 112 error
    "version": 1,
    "handlers": {
        "console": {"class": "logging.StreamHandler"},
        "mail": {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR"},
        "file": {  # expect: 114 warning
            "class": "logging.handlers.RotatingFileHandler",
            "filename": "/var/log/bookshop/bookshop.log",
            "delay": True,
            "maxBytes": 1_000_000,
        },
    },
    "loggers": {
        "bookshop": {"handlers": ["file", "mail"], "level": "INFO"},  # expect: 113 warning
        "django.request": {"handlers": ["mail"], "level": "ERROR"},
    },
}

SECURE_SSL_REDIRECT = True  # expect: 115 warning

ASGI_DEPLOY = {"HANDLER": "django", "BIND": ["0.0.0.0:8000"], "WORKERS": 4}
