from django.apps import AppConfig

from django_asgi_deploy.checks import registration


class ASGIDeployConfig(AppConfig):
    name = "django_asgi_deploy"
    verbose_name = "ASGI deployment"

    def ready(self) -> None:
        registration.register()
