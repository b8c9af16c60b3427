"""Nobody gets anywhere without a login."""

from clinic.settings import *  # noqa: F403
from clinic.settings import MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
