"""Our request handler by itself, without the layers and the settings around it."""

import django

from django_asgi_deploy.handlers.asgi import ASGIHandler

django.setup(set_prefix=False)
application = ASGIHandler()
