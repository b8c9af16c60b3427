"""Django's defaults with our handler: what its bounded threads make harmless is only told, or not even that."""

SECRET_KEY = "pooled"
DEBUG = False
ALLOWED_HOSTS = ["example.com"]
ROOT_URLCONF = "tests.urls"
INSTALLED_APPS = ["django.contrib.sessions", "django_asgi_deploy"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "CONN_MAX_AGE": 600,  # expect: 101 info
    },
    "other": {"ENGINE": "django.db.backends.mysql", "NAME": "other"},
    "small": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "small",
        "OPTIONS": {"pool": {"min_size": 8}},
    },
    "notes": {"ENGINE": "django.db.backends.sqlite3", "NAME": "notes.sqlite3"},  # expect: 107 info
    "memory": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}

LOGGING = {  # expect: 112 info
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"]},
}

SECURE_SSL_REDIRECT = True  # expect: 115 info
