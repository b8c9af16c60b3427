"""Whose pages may open a WebSocket."""

import asyncio
import logging

import pytest

from django_asgi_deploy.layers.websocket import OriginCheck, deny
from tests.layers.asgi import Seen, exchange, http, websocket


def allows(origin: str | None, hosts: list[str], origins: list[str] | None = None) -> bool:
    """Whether the handshake gets through to the application."""
    seen = Seen()
    headers = [(b"host", b"testserver")] + ([(b"origin", origin.encode())] if origin is not None else [])
    (answer,) = asyncio.run(exchange(OriginCheck(seen, hosts, origins or []), websocket("/ws", headers=headers)))
    assert answer["type"] == ("websocket.accept" if seen.scopes else "websocket.close")
    return bool(seen.scopes)


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("https://example.com", "example.com", True),
        ("http://example.com:8000", "example.com", True),
        ("https://EXAMPLE.com", "Example.COM", True),
        ("https://example.com.", "example.com", True),
        ("https://evil.com", "example.com", False),
        ("https://example.com.evil.com", "example.com", False),
        ("https://notexample.com", ".example.com", False),
        ("https://www.example.com", "example.com", False),
        ("https://www.example.com", ".example.com", True),
        ("https://example.com", ".example.com", True),
        ("https://anything.at.all", "*", True),
        ("null", "example.com", False),
        ("null", "*", True),
        ("", "example.com", False),
        ("example.com", "example.com", False),
        ("https://example.com@evil.com", "example.com", False),
        ("https://evil.com/example.com", "example.com", False),
        ("https://example.com:port", "example.com", False),
        ("http://[::1]:8000", "[::1]", True),
        ("http://127.0.0.1:8000", "127.0.0.1", True),
        ("https://example.com:8000", "example.com:8000", False),  # nor does Django take a port there
    ],
)
def test_an_origin_is_compared_with_allowed_hosts_as_django_compares_hosts(
    origin: str, host: str, expected: bool
) -> None:
    assert allows(origin, [host]) is expected


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        ("https://app.example.org", "https://app.example.org", True),
        ("http://app.example.org", "https://app.example.org", False),
        ("https://app.example.org", "https://app.example.org:443", True),
        ("https://app.example.org:8443", "https://app.example.org", False),
        ("https://app.example.org:8443", "https://app.example.org:8443", True),
        ("https://app.example.org", "https://*.example.org", True),
        ("https://app.notexample.org", "https://*.example.org", False),
        ("http://app.example.org:9000", "app.example.org", True),
        ("http://app.example.org", ".example.org", True),
        ("https://evil.com", "*", True),
        ("chrome-extension://abcdef", "chrome-extension://abcdef", True),
    ],
)
def test_allowed_origins_are_added_with_a_scheme_or_without(origin: str, allowed: str, expected: bool) -> None:
    assert allows(origin, ["example.com"], [allowed]) is expected


def test_without_an_origin_it_is_no_page_in_a_browser_and_is_let_through() -> None:
    assert allows(None, ["example.com"])


def test_of_two_origins_both_must_be_allowed() -> None:
    check = OriginCheck(Seen(), ["example.com"])
    headers = [(b"origin", b"https://example.com"), (b"origin", b"https://evil.com")]
    (answer,) = asyncio.run(exchange(check, websocket("/ws", headers=headers)))
    assert answer["type"] == "websocket.close"


def test_a_refused_handshake_is_logged_with_origin_and_path(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        allows("https://evil.com\r\nForged: line", ["example.com"])
    (line,) = caplog.messages
    assert line.startswith(r"A WebSocket handshake from 'https://evil.com\r\nForged: line' to '/ws' is refused")
    assert "\n" not in line


@pytest.mark.parametrize("text", ["example.com:8000", "https://", "https://a b", "https://*", "https://example.com/x"])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        OriginCheck(Seen(), [], [text])


def test_requests_are_not_its_business() -> None:
    start, _ = asyncio.run(exchange(OriginCheck(Seen(), []), http("/", headers=[(b"origin", b"https://evil.com")])))
    assert start["status"] == 200


def test_a_denied_handshake_is_closed_before_it_was_accepted() -> None:
    assert asyncio.run(exchange(deny, websocket("/"))) == [{"type": "websocket.close", "code": 1000}]
