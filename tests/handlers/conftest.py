from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker


@pytest.fixture(autouse=True)
def _database_access(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """These tests open connections of their own, to databases of their own."""
    with django_db_blocker.unblock():
        yield
