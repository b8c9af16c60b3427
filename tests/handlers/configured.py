"""Settings for tests that need Django in this process, where nothing else has configured it."""

import atexit
import shutil
import tempfile
from pathlib import Path

import django
from django.conf import settings

if not settings.configured:
    _directory = tempfile.mkdtemp(prefix="django-asgi-deploy-tests-")
    atexit.register(shutil.rmtree, _directory, ignore_errors=True)
    settings.configure(
        DEBUG=False,
        SECRET_KEY="not a secret",
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(_directory) / "db.sqlite3"),
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
