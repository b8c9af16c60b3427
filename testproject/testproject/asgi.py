"""The ASGI application of the example site: what `manage.py runasgi`, or any other ASGI server, serves."""

from django_asgi_deploy.asgi import get_asgi_application

application = get_asgi_application("testproject.settings")
