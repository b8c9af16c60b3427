"""A developer's machine: what is right there isn't reported there."""

SECRET_KEY = "development"
DEBUG = True
ROOT_URLCONF = "tests.urls"
INSTALLED_APPS = ["django.contrib.sessions", "django.contrib.staticfiles", "django_asgi_deploy"]
STATIC_URL = "static/"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": True,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"uvicorn": {"handlers": ["console"], "level": "INFO"}, "": {"handlers": ["console"]}},
}
