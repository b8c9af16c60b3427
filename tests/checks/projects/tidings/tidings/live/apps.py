from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "tidings.live"

    def ready(self):
        from . import signals  # noqa: F401
