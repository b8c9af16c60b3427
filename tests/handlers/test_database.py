"""The handler and a real PostgreSQL: tenants, connections, transactions."""

# ruff: noqa: ASYNC110 - what another thread does sets no asyncio.Event

import asyncio
import random
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils.deprecation import MiddlewareMixin

from django_asgi_deploy.handlers.asgi import ASGIHandler
from tests.handlers.client import Client, get, idle, run, site
from tests.postgres import PROGRAMS, run_postgres
from tests.programs import missing, require_package

pytestmark = pytest.mark.real
TENANTS = ("red", "blue")
local = threading.local()


@pytest.fixture(scope="module")
def postgres():
    require_package("psycopg")
    if PROGRAMS is None:
        missing("program initdb (PostgreSQL)")
    with run_postgres() as server:
        yield server


@contextmanager
def database(server, **options):
    """The server as the default database, in all threads."""
    before = connections.settings
    use(connections.configure_settings({"default": server.settings(**options)}))
    try:
        yield
    finally:
        use(before)


def use(databases):
    connections.close_all()
    with suppress(AttributeError):
        del connections["default"]
    connections.settings = databases


def query(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


class TenantMiddleware(MiddlewareMixin):
    """As multi-tenant sites do: the connection and a thread-local know the tenant."""

    def process_request(self, request):
        assert getattr(local, "tenant", None) is None
        local.tenant = request.headers["X-Tenant"]
        query(f"SET search_path TO {local.tenant}")

    def process_response(self, request, response):
        response["X-Tenant"] = local.tenant
        local.tenant = None
        return response


def whoami():
    time.sleep(random.random() * 0.001)
    return f"{query('SELECT name FROM me')} {local.tenant}"


def sync_view(request):
    return HttpResponse(f"{whoami()} {whoami()}")


async def async_view(request):
    first = await sync_to_async(whoami)()
    await asyncio.sleep(random.random() * 0.001)
    return HttpResponse(f"{first} {await sync_to_async(whoami)()}")


PATTERNS = [path("sync", sync_view), path("async", async_view)]


def test_tenants_never_see_each_other_with_8_threads_and_2000_concurrent_requests(postgres):
    async def main():
        async def request(number):
            tenant = TENANTS[number % 2]
            where_to = "/sync" if number % 3 else "/async"
            client = await Client(handler, where_to, headers=[(b"x-tenant", tenant.encode())]).run()
            assert client.text == " ".join([tenant] * 4)
            assert client.headers[b"x-tenant"] == tenant.encode()

        await asyncio.gather(*(request(number) for number in range(2000)))
        assert handler.stats().threads <= 8

    with database(postgres, CONN_MAX_AGE=60), site(PATTERNS, [f"{__name__}.TenantMiddleware"]):
        for tenant in TENANTS:
            query(f"CREATE SCHEMA {tenant}")
            query(f"CREATE TABLE {tenant}.me AS SELECT '{tenant}' AS name")
        handler = ASGIHandler(8)
        run(main, handler, timeout=120)


def count_connections():
    others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
    return query(f"SELECT count(*) FROM pg_stat_activity WHERE {others}")


async def settled(expected):
    async with asyncio.timeout(20):
        while (found := await asyncio.to_thread(count_and_close)) != expected:
            await asyncio.sleep(0.01)
    return found


def count_and_close():
    try:
        return count_connections()
    finally:
        connection.close()


def one_query(request):
    return HttpResponse(str(query("SELECT 1")))


async def one_async_query(request):
    return HttpResponse(str(await sync_to_async(query)("SELECT 1")))


QUERIES = [path("sync", one_query), path("async", one_async_query)]


def test_persistent_connections_are_bounded_by_the_threads_and_closed_at_the_end(postgres):
    async def main():
        clients = await asyncio.gather(*(get(handler, "/sync" if n % 2 else "/async") for n in range(1000)))
        assert {client.text for client in clients} == {"1"}
        threads = handler.stats().threads
        assert threads <= 4
        assert await asyncio.to_thread(count_and_close) <= threads
        await handler.aclose()
        await settled(0)

    with database(postgres, CONN_MAX_AGE=60), site(QUERIES):
        handler = ASGIHandler(4)
        run(main, handler)


def test_connections_of_idle_threads_are_closed(postgres):
    async def main():
        await asyncio.gather(*(get(handler, "/sync") for _ in range(20)))
        await settled(0)

    with database(postgres, CONN_MAX_AGE=None), site(QUERIES):
        handler = ASGIHandler(4, thread_idle_seconds=0.05)
        run(main, handler)


@pytest.mark.parametrize("where_to", ["/sync", "/async"])
def test_without_conn_max_age_a_connection_ends_with_its_request(postgres, where_to):
    async def main():
        await get(handler, where_to)
        await settled(0)
        assert handler.stats().threads == 1

    with database(postgres, CONN_MAX_AGE=0), site(QUERIES):
        handler = ASGIHandler(4)
        run(main, handler)


def test_a_connection_that_the_server_ended_costs_one_answer_at_most(postgres):
    async def main(expected):
        assert (await get(handler, "/sync")).status == 200
        kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        await asyncio.to_thread(lambda: (query(f"{kill} AND pid <> pg_backend_pid()"), connection.close()))
        await asyncio.sleep(0.05)
        first, second = await get(handler, "/sync"), await get(handler, "/sync")
        assert first.status == expected
        assert second.status == 200

    for health_checks, expected in ((False, 500), (True, 200)):
        with database(postgres, CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=health_checks), site(QUERIES):
            handler = ASGIHandler(1)
            run(partial(main, expected), handler)


def insert(then=None):
    query("INSERT INTO counted VALUES (1)")
    if then:
        transaction.on_commit(then)


def test_atomic_requests_commit_roll_back_and_call_on_commit(postgres):
    def good(request):
        insert(lambda: committed.append(threading.get_ident()))
        assert committed == []
        assert connection.in_atomic_block
        return HttpResponse(str(threading.get_ident()))

    def bad(request):
        insert(lambda: committed.append("never"))
        raise Http404

    async def refused(request):
        raise AssertionError

    async def main():
        answer = await get(handler, "/good")
        assert committed == [int(answer.text)]
        assert (await get(handler, "/bad")).status == 404
        assert (await get(handler, "/async")).status == 500  # as in Django: no ATOMIC_REQUESTS for asynchronous views
        assert await asyncio.to_thread(lambda: (query("SELECT count(*) FROM counted"), connection.close())[0]) == 1

    committed = []
    patterns = [path("good", good), path("bad", bad), path("async", refused)]
    with database(postgres, ATOMIC_REQUESTS=True), site(patterns):
        query("CREATE TABLE counted (n int)")
        handler = ASGIHandler(2)
        run(main, handler)


def test_an_open_transaction_keeps_its_thread_while_an_asynchronous_stream_runs(postgres):
    async def gen():
        for _ in range(3):
            yield f"{await sync_to_async(inside)()} ".encode()
        await sync_to_async(leave)()

    def inside():
        return (threading.get_ident() == entered[0], connection.in_atomic_block) == (True, True)

    def leave():
        atomic.__exit__(None, None, None)

    def enter():
        entered.append(threading.get_ident())
        atomic.__enter__()

    async def view(request):
        await sync_to_async(enter)()
        return StreamingHttpResponse(gen())

    async def main():
        others = [asyncio.create_task(get(handler, "/other")) for _ in range(5)]
        assert (await get(handler, "/")).text == "True True True "
        await asyncio.gather(*others)
        await idle(handler)

    entered = []
    with database(postgres), site([path("", view), path("other", one_query)]):
        atomic = transaction.atomic()
        handler = ASGIHandler(2)
        run(main, handler)


def test_a_server_side_cursor_survives_a_stream_under_load(postgres):
    def rows():
        with connection.connection.cursor("rows", withhold=True) as cursor:
            cursor.itersize = 1
            cursor.execute("SELECT generate_series(1, 20)")
            for (number,) in cursor:
                yield f"{number} "

    def view(request):
        connection.ensure_connection()
        return StreamingHttpResponse(rows())

    async def main():
        others = [asyncio.create_task(get(handler, "/other")) for _ in range(50)]
        clients = await asyncio.gather(*(get(handler, "/") for _ in range(10)))
        assert {client.text for client in clients} == {"".join(f"{n} " for n in range(1, 21))}
        await asyncio.gather(*others)

    with database(postgres, CONN_MAX_AGE=0), site([path("", view), path("other", one_query)]):
        handler = ASGIHandler(2)
        run(main, handler)


def test_tasks_that_outlive_their_request_do_not_keep_a_connection(postgres):
    async def later():
        await go[0].wait()
        return await sync_to_async(query)("SELECT 1")

    async def view(request):
        tasks.append(asyncio.create_task(later()))
        return HttpResponse(str(await sync_to_async(query)("SELECT 1")))

    async def main():
        go.append(asyncio.Event())
        await get(handler, "/")
        go[0].set()
        assert await tasks[0] == 1
        await settled(0)

    go, tasks = [], []
    with database(postgres, CONN_MAX_AGE=0), site([path("", view)]):
        handler = ASGIHandler(2)
        run(main, handler)
