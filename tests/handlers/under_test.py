"""The one place that says which handler the tests of this directory hold against Django's own.

Ours, unless ``HANDLER_UNDER_TEST`` names another by its dotted path: Django's own against itself shows that the tests
are sound.
"""

import os

DJANGOS_OWN = "django.core.handlers.asgi.ASGIHandler"
OURS = "django_asgi_deploy.handlers.asgi.ASGIHandler"

HANDLER_UNDER_TEST = os.environ.get("HANDLER_UNDER_TEST") or OURS
