"""What a view can know about its request, and about who is serving it."""

import os
import platform
import sys
import threading
from importlib.metadata import version

import django

SERVERS = ["gunicorn", "uvicorn", "daphne", "hypercorn", "granian"]


def request_info(request):
    scope = getattr(request, "scope", {})
    return {
        "method": request.method,
        "scheme": request.scheme,
        "is_secure": request.is_secure(),
        "host": request.get_host(),
        "path": request.path,
        "path_info": request.path_info,
        "script_name": request.META["SCRIPT_NAME"],
        "query_string": request.META["QUERY_STRING"],
        "http_version": scope.get("http_version"),
        "remote_addr": request.META.get("REMOTE_ADDR"),
        "headers": dict(request.headers),
        "cookies": request.COOKIES,
        **process_info(request),
    }


def process_info(request):
    return {
        "interface": "ASGI" if is_asgi(request) else "WSGI",
        "server": server_name(request),
        "handler": handler_name(request),
        "pid": os.getpid(),
        "thread_name": threading.current_thread().name,
        "thread_id": threading.get_ident(),
        "python": platform.python_version(),
        "django": django.get_version(),
    }


def is_asgi(request):
    return hasattr(request, "scope")


def server_name(request):
    # WSGI servers introduce themselves; ASGI has no word for it, so we look at what is loaded.
    if not is_asgi(request):
        return request.META.get("SERVER_SOFTWARE", "unknown")
    names = [f"{name} {version(name)}" for name in SERVERS if name in sys.modules]
    if "django_asgi_deploy.server.run" in sys.modules:
        names.insert(0, "runasgi")
    return " + ".join(names) or "unknown"


def handler_name(request):
    """The class that hands the request to Django's middleware: what is inside the layers around it."""
    module = sys.modules.get("testproject.asgi" if is_asgi(request) else "testproject.wsgi")
    application = getattr(module, "application", None)
    handler = getattr(application, "handler", application)
    return f"{type(handler).__module__}.{type(handler).__qualname__}"
