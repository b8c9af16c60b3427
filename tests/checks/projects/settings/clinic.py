"""Everything that the others have wrong, done right, on Django's own handler: nothing must be reported."""

SECRET_KEY = "clinic"
DEBUG = False
ALLOWED_HOSTS = ["clinic.example"]
ROOT_URLCONF = "tests.urls"
INSTALLED_APPS = ["django.contrib.sessions", "django.contrib.staticfiles", "django_asgi_deploy"]

# DJANGO_ALLOW_ASYNC_UNSAFE would switch a safety off: we never set it.

STATIC_URL = "https://cdn.clinic.example/static/"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "clinic",
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"pool": {"min_size": 4, "max_size": 32}},
    },
    "bouncer": {"ENGINE": "django.db.backends.postgresql", "NAME": "clinic", "HOST": "127.0.0.1", "PORT": "6432"},
    "lookup": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "lookup.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"},
    },
}

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://cache:6379"},
    "nothing": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "console": {"class": "logging.StreamHandler"},
        "mail": {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR"},
        "udp": {"class": "logging.handlers.DatagramHandler", "host": "logs", "port": 5140},
        "syslog": {"class": "logging.handlers.SysLogHandler"},
        "watched": {"class": "logging.handlers.WatchedFileHandler", "filename": "/var/log/clinic.log", "delay": True},
        "unused": {"class": "logging.handlers.SMTPHandler", "mailhost": "mail", "fromaddr": "a", "toaddrs": ["b"]},
    },
    "loggers": {
        "django.request": {"handlers": ["mail"], "propagate": False},
        "clinic": {"handlers": ["console", "udp", "syslog", "watched"]},
    },
    "root": {"handlers": ["console"]},
}

SECURE_SSL_REDIRECT = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

ASGI_DEPLOY = {"HANDLER": "django", "BIND": ["0.0.0.0:8000"], "WORKERS": 4, "UVICORN": {"limit_concurrency": 64}}
