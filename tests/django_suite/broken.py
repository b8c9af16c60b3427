"""A handler that is wrong, to show that Django's tests notice."""

from django.core.handlers.asgi import ASGIHandler


class LosingHandler(ASGIHandler):
    """Every answer becomes an empty 500."""

    async def __call__(self, scope, receive, send):
        async def lose(message):
            if message["type"] == "http.response.start":
                message = {**message, "status": 500, "headers": []}
            else:
                message = {**message, "body": b""}
            await send(message)

        await super().__call__(scope, receive, lose)
