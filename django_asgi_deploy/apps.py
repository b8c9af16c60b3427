from django.apps import AppConfig


class ASGIDeployConfig(AppConfig):
    name = "django_asgi_deploy"
    verbose_name = "ASGI deployment"
