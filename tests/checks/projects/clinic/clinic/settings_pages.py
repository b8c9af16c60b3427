"""Own error pages, tokens in the session, pages cached in the database."""

from clinic.settings import *  # noqa: F403
from clinic.settings import TEMPLATES

ROOT_URLCONF = "clinic.urls_pages"
CSRF_USE_SESSIONS = True
CSRF_FAILURE_VIEW = "booking.errors.csrf_failure"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "pages"}}
TEMPLATES[0]["OPTIONS"]["context_processors"].append("booking.context.unread_letters")
