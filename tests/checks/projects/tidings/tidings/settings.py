"""A regional news site: articles, members, live tickers and newsletters."""

SECRET_KEY = "held-out-project-secret-key-with-enough-characters-0123456789"
DEBUG = False
ALLOWED_HOSTS = ["tidings.example"]
ROOT_URLCONF = "tidings.urls"
ASGI_APPLICATION = "tidings.asgi.application"
INSTALLED_APPS = [
    "django_asgi_deploy",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "tidings.articles",
    "tidings.members",
    "tidings.live",
    "tidings.newsletters",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tidings.live.middleware.EditionMiddleware",
    "tidings.live.middleware.timing_middleware",
    "tidings.live.middleware.StampMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {}}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://cache.internal:6379"},
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
EMAIL_HOST = "mail.internal"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
