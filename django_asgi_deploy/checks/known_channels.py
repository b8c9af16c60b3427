"""What the consumers of Channels have: their layer, and the user in their scope."""

import ast
import sys

from django_asgi_deploy.checks import backends, orm, resolve
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.known import HANDLERS
from django_asgi_deploy.checks.scope import Reading, Scope
from django_asgi_deploy.checks.values import Made, Mapping, Value

OF_CONSUMERS = frozenset(["channel_layer", "scope"])


def attribute(consumer: type, name: str) -> Value:
    """What Channels itself assigns to an attribute of a consumer; None if it isn't one, or that isn't known."""
    if not resolve.is_a(consumer, "channels.consumer.AsyncConsumer"):
        return None
    if name == "channel_layer":
        return _layer()
    return Mapping({"user": orm.current_user() if "channels.auth" in sys.modules else None})


def _layer() -> Value:
    cls = backends.channel_layer()
    return Made(cls) if cls else None


@HANDLERS.function("channels.layers.get_channel_layer")
def _get_channel_layer(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    return _layer()
