"""The banner sets the connections that may be opened beside those that a real PostgreSQL allows."""

from collections.abc import Iterator

import pytest

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


def test_the_limit_of_the_server_is_asked_and_shown(site: Site, postgres: Postgres) -> None:
    site.append("mysite/settings", f"DATABASES = {{'default': {postgres.settings()!r}}}")
    with site.serve() as server:
        server.wait_for(
            r"database +default: up to 8 connections \(1 worker x 8 threads\) of the 17 that the server allows"
        )


def test_more_threads_than_connections_are_warned_of(site: Site, postgres: Postgres) -> None:
    site.append("mysite/settings", f"DATABASES = {{'default': {postgres.settings()!r}}}")
    with site.serve("--threads", "18") as server:
        server.wait_for(
            r"up to 18 connections .*, but the server allows 17: lower THREADS, or raise its max_connections"
        )


def test_a_server_that_does_not_answer_neither_fails_nor_delays_the_start(site: Site) -> None:
    require_package("psycopg")
    # TEST-NET-1 (RFC 5737) belongs to nobody: what is sent there is lost.
    database = {"ENGINE": "django.db.backends.postgresql", "HOST": "192.0.2.1", "NAME": "x"}
    site.append("mysite/settings", f"DATABASES = {{'default': {database!r}}}")
    with site.serve() as server:
        server.wait_for(r"database +default: .*how many the server allows couldn't be asked")
        assert b"Hello" in server.get()
