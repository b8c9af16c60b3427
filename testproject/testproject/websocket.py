"""A WebSocket in plain ASGI, without a framework: it sends back whatever it gets."""

PATH = "/ws/echo/"


async def echo(scope, receive, send):
    if scope["path"].removeprefix(scope.get("root_path", "")) != PATH:
        # Closed before it was accepted: the client's handshake is denied.
        await receive()
        await send({"type": "websocket.close", "code": 4404})
        return

    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.disconnect":
            return
        elif message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"]})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
