"""For tests that need Django in their own process."""

SECRET_KEY = "test"
INSTALLED_APPS = ["django_asgi_deploy"]
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
ROOT_URLCONF = "tests.urls"
USE_TZ = True
