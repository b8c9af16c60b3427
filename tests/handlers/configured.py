"""Settings for tests that need Django in this process, where nothing else has configured it."""

import tempfile
from pathlib import Path

import django
from django.conf import settings

_directory = tempfile.TemporaryDirectory(prefix="django-asgi-deploy-tests-")

if not settings.configured:
    settings.configure(
        DEBUG=False,
        SECRET_KEY="not a secret",
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(_directory.name) / "db.sqlite3"),
                "TEST": {"NAME": None},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
        ],
        USE_TZ=True,
    )
    django.setup()
