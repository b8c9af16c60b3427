from django_asgi_deploy.asgi import get_asgi_application

application = get_asgi_application("benchsite.settings")
