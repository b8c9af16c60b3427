"""Static files."""

from typing import cast

from django.core.handlers.asgi import ASGIHandler

from django_asgi_deploy.types import ASGIApp


def through_finders(app: ASGIApp) -> ASGIApp:
    """``app`` behind Django's own development handler: files are looked up by the finders at each request.

    Needs ``django.contrib.staticfiles``. Not for production: unoptimised, and a file is read whole.
    """
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

    return cast(ASGIApp, ASGIStaticFilesHandler(cast(ASGIHandler, app)))
