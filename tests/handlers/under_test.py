"""The one place that says which handler the tests of this directory hold against Django's own.

Ours, unless ``HANDLER_UNDER_TEST`` names another by its dotted path: Django's own against itself shows that the tests are sound.
"""

import os
from importlib.util import find_spec

DJANGOS_OWN = "django.core.handlers.asgi.ASGIHandler"
OURS = "django_asgi_deploy.handlers.asgi.ASGIHandler"

# TODO: drop the second half of this line once the handler is merged.
HANDLER_UNDER_TEST = os.environ.get("HANDLER_UNDER_TEST") or (
    OURS if find_spec("django_asgi_deploy.handlers.asgi") else DJANGOS_OWN
)
