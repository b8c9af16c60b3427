"""
Settings of the example site: what ``django-admin startproject`` writes, plus the lines that are ours.

It runs as it is. These environment variables change it:

TESTPROJECT_SECRET_KEY      the secret key; needed as soon as others can reach the site
TESTPROJECT_DEBUG           1 (the default) or 0
TESTPROJECT_ALLOWED_HOSTS   host names, separated by commas; needed when DEBUG is off
TESTPROJECT_DATABASE        path of the SQLite file, or postgresql://user:password@host:port/name
TESTPROJECT_STATIC_ROOT     where collectstatic puts the static files
TESTPROJECT_MEDIA_ROOT      where the files for /download/ are made
"""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("TESTPROJECT_SECRET_KEY", "django-insecure-good-enough-on-your-own-machine-only")
DEBUG = os.environ.get("TESTPROJECT_DEBUG", "1") == "1"
ALLOWED_HOSTS = [host for host in os.environ.get("TESTPROJECT_ALLOWED_HOSTS", "").split(",") if host]

INSTALLED_APPS = [
    "django_asgi_deploy",  # ours: brings the commands, among them `manage.py runasgi`
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "notes",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# WebSockets go to an application of their own: Django speaks HTTP only.
ASGI_DEPLOY = {"WEBSOCKET": "testproject.websocket.echo"}

# Nothing has to point to asgi.py: it is found beside this file.
ROOT_URLCONF = "testproject.urls"
WSGI_APPLICATION = "testproject.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def database(given):
    if not given.startswith(("postgres://", "postgresql://")):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": given,
            # Let writers queue up instead of failing with "database is locked".
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
        }
    url = urlsplit(given)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.removeprefix("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname or "",
        "PORT": url.port or "",
    }


DATABASES = {"default": database(os.environ.get("TESTPROJECT_DATABASE") or str(BASE_DIR / "db.sqlite3"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# Names, not paths: so the site also works under a prefix (--root-path).
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("TESTPROJECT_STATIC_ROOT") or BASE_DIR / "staticfiles")
STATICFILES_DIRS = [BASE_DIR / "static"]

MEDIA_URL = "media/"
MEDIA_ROOT = Path(os.environ.get("TESTPROJECT_MEDIA_ROOT") or BASE_DIR / "media")
