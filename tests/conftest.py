from pathlib import Path

import pytest

from tests.utils import Site

pytest_plugins = ["django_asgi_deploy.pytest_plugin"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
