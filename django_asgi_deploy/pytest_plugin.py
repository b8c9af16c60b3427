"""A live server for pytest with pytest-django.

In the topmost conftest.py: ``pytest_plugins = ["django_asgi_deploy.pytest_plugin"]``
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_asgi_deploy.test import LiveServer


@pytest.fixture
def asgi_live_server(request: pytest.FixtureRequest, transactional_db: None) -> Iterator["LiveServer"]:
    """A running server for one test, which sees what the test has written to the database.

    ``asgi_live_server.url``, ``asgi_live_server.websocket_url``, ``asgi_live_server + "/path/"``. The address is the
    one that pytest-django would take: ``--liveserver``, DJANGO_LIVE_TEST_SERVER_ADDRESS, or localhost with a free port.
    """
    from django_asgi_deploy.test import live_server  # not before Django is set up

    given = request.config.getoption("liveserver", None) or os.environ.get("DJANGO_LIVE_TEST_SERVER_ADDRESS")
    host, _, port = (given or "localhost").partition(":")
    with live_server(host, int(port or 0)) as server:
        yield server
