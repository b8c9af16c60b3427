"""The static files that ``collectstatic`` has put into STATIC_ROOT: whether they can be served from here, and how."""

import importlib.util
import os
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings

# Apps that serve static files in Django's MIDDLEWARE: then they are left to it.
SERVERS = ("whitenoise", "servestatic", "blacknoise")


def obstacle() -> str | None:
    """Why nobody here serves them, for the banner; "" where there is nothing to say; None if they can be served."""
    if settings.DEBUG or not apps.is_installed("django.contrib.staticfiles"):
        return ""
    if urlsplit(settings.STATIC_URL or "//").netloc or not url().strip("/"):
        return ""
    if any(name in path.lower() for path in settings.MIDDLEWARE for name in SERVERS):
        return ""
    if not settings.STATIC_ROOT:
        return (
            "static files are not served while DEBUG is off: set STATIC_ROOT and run collectstatic, or leave them to "
            "the web server in front (STATIC off says that it does)"
        )
    if importlib.util.find_spec("servestatic") is None:
        return (
            'static files are not served while DEBUG is off: python -m pip install "django-asgi-deploy[static]" does '
            "it from here, or leave them to the web server in front (STATIC off says that it does)"
        )
    if not os.path.isdir(settings.STATIC_ROOT):
        return f"static files are not served: there is no {settings.STATIC_ROOT} yet; run collectstatic"
    return None


def folder() -> str:
    return os.fspath(settings.STATIC_ROOT)


def url() -> str:
    """The path of STATIC_URL, with a slash at both ends."""
    path = urlsplit(settings.STATIC_URL or "").path.strip("/")
    return f"/{path}/" if path else "/"


def hashed_names() -> frozenset[str]:
    """Of the files in STATIC_ROOT, those whose name has a hash of the content, by ManifestStaticFilesStorage."""
    from django.contrib.staticfiles.storage import staticfiles_storage

    return frozenset(getattr(staticfiles_storage, "hashed_files", {}).values())
