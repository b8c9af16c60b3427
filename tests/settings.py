"""For tests that need Django in their own process."""

import tempfile

_folder = tempfile.TemporaryDirectory(prefix="django-asgi-deploy-")

SECRET_KEY = "test"
INSTALLED_APPS = ["django_asgi_deploy"]
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_folder.name}/db.sqlite3"}}
ROOT_URLCONF = "tests.urls"
USE_TZ = True
