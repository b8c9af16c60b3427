"""Whose request it was, for metrics and access log, where Django and its URL patterns aren't asked."""

from django_asgi_deploy.types import OBSERVATION, Scope


def note_route(scope: Scope, route: str) -> None:
    """``route``: as a URL pattern has it, without the slash in front; ``api/*`` is everything below a prefix."""
    observation = scope.get(OBSERVATION)
    if observation is not None:
        observation.route = route
