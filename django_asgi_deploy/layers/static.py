"""Static files."""

from typing import cast

from django.core.handlers.asgi import ASGIHandler, get_script_prefix

from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send


class ThroughFinders:
    """``app`` behind Django's own development handler: files are looked up by the finders at each request.

    Needs ``django.contrib.staticfiles``. Not for production: unoptimised, and a file is read whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

        self.app = app
        self.files = ASGIStaticFilesHandler(cast(ASGIHandler, app))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        files = cast(ASGIApp, self.files)
        root = get_script_prefix(scope).rstrip("/")
        if root and scope["path"].startswith(f"{root}/"):
            # Below a root_path STATIC_URL = "static/" is meant from there. Django's handler knows "/static/" only.
            path = scope["path"].removeprefix(root)
            base_url = self.files.base_url
            if path.startswith(base_url.path) and not base_url.netloc:
                await files({**scope, "path": path, "root_path": ""}, receive, send)
                return
        await files(scope, receive, send)
