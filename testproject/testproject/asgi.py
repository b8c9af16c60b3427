"""The ASGI application of the example site: what `manage.py runasgi`, or any other ASGI server, serves."""

from django_asgi_deploy.asgi import get_asgi_application
from testproject.websocket import echo

django_application = get_asgi_application("testproject.settings")


async def application(scope, receive, send):
    # Django speaks HTTP only: WebSockets go to an application of their own.
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
    else:
        await django_application(scope, receive, send)
