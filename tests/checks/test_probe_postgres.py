"""How many connections a real database server allows, beside how many a project may open. (104)"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checks.test_probe import report
from tests.postgres import PROGRAMS, Postgres, run_postgres
from tests.programs import missing, require_package
from tests.utils import Site

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("postgres")]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    require_package("psycopg")
    if PROGRAMS is None:
        missing("program initdb (PostgreSQL)")
    with run_postgres(max_connections=20) as server:
        yield server


@pytest.mark.parametrize(
    ("threads", "workers", "options", "wanted"),
    [
        (30, 1, {}, 30),
        (6, 4, {}, 24),
        (2, 2, {"pool": {"min_size": 1, "max_size": 12}}, 24),
        (2, 6, {"pool": True}, 24),
        (8, 2, {}, None),
        (30, 1, {"pool": {"min_size": 1, "max_size": 10}}, None),
        (30, 3, {"pool": True}, None),
    ],
)
def test_connections_beyond_what_the_server_allows_are_found(
    tmp_path: Path, postgres: Postgres, threads: int, workers: int, options: dict[str, object], wanted: int | None
) -> None:
    if options:
        require_package("psycopg_pool")
    site = Site(tmp_path)
    database = {**postgres.settings(), "OPTIONS": options}
    site.append("mysite/settings", f"DATABASES = {{'default': {database!r}}}\n")
    found = report(site, "/", ASGI_DEPLOY_THREADS=str(threads), ASGI_DEPLOY_WORKERS=str(workers))["findings"]
    assert [each["id"] for each in found] == (["asgi.104"] if wanted else [])
    assert all(f"may open {wanted} connections" in each["message"] for each in found)
