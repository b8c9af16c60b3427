"""For tests that need Django in their own process."""

import atexit
import shutil
import tempfile

_folder = tempfile.mkdtemp(prefix="django-asgi-deploy-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

SECRET_KEY = "test"
INSTALLED_APPS = ["django_asgi_deploy", "django.contrib.auth", "django.contrib.contenttypes"]
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_folder}/db.sqlite3"}}
ROOT_URLCONF = "tests.urls"
USE_TZ = True
