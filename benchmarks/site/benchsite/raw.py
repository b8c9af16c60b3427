"""The least that an ASGI application can do: the server's own share of a request."""

BODY = b"Hello"
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(BODY))],
}


async def application(scope, receive, send):
    await receive()
    await send(START)
    await send({"type": "http.response.body", "body": BODY})
