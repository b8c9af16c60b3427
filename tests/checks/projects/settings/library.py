"""SQLite in production, with several workers, below a prefix."""

from tests.checks.projects.settings.clinic import *  # noqa: F403

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "library.sqlite3"},  # expect: 107 warning
    "gis": {
        "ENGINE": "django.db.backends.sqlite3",  # expect: 107 warning
        "NAME": "file:gis.sqlite3?mode=rw",
        "OPTIONS": {"timeout": 30, "uri": True},
    },
}
CACHES = {}
SESSION_ENGINE = "django.contrib.sessions.backends.file"  # expect: 110 warning
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer"},
    "local": {"BACKEND": "channels.layers.InMemoryChannelLayer"},  # expect: 111 warning
}
LOGGING = {  # expect: 112 info
    "version": 1,
    "handlers": {
        "mail": {"class": "logging.handlers.SMTPHandler", "mailhost": "m", "fromaddr": "a", "toaddrs": ["b"]},
        "queue": {
            "class": "logging.handlers.QueueHandler",
            "handlers": ["mail"],
            "listener": "logging.handlers.QueueListener",
        },
    },
    "root": {"handlers": ["queue"]},
}
ASGI_DEPLOY = {"WORKERS": 3}
