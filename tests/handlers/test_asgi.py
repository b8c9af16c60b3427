"""The handler's promises, one by one, called over ASGI in this process."""

# ruff: noqa: ASYNC110 - what another thread does sets no asyncio.Event

import asyncio
import contextvars
import gc
import threading
import time
import weakref
from contextlib import contextmanager

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.core import signals
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path, register_converter
from django.utils.deprecation import MiddlewareMixin

from django_asgi_deploy.handlers.asgi import ASGIHandler
from tests.handlers.client import Client, get, idle, run, site

HERE = __name__
DEFAULT_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
variable = contextvars.ContextVar("variable", default="unset")


def where():
    return "loop" if threading.current_thread() is threading.main_thread() else threading.current_thread().name


def sync_view(request):
    return HttpResponse(where())


async def async_view(request):
    return HttpResponse(where())


@contextmanager
def connected(signal, receiver, **how):
    signal.connect(receiver, **how)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def handler_for(urlpatterns, middleware=(), threads=4, **options):
    with site(urlpatterns, middleware):
        return ASGIHandler(threads, **options)


class Blocked:
    """A synchronous view that waits until it is let go."""

    def __init__(self):
        self.reached, self.opened, self.calls = threading.Event(), threading.Event(), 0

    def __call__(self, request):
        self.calls += 1
        self.reached.set()
        assert self.opened.wait(20)
        return HttpResponse("late")

    async def wait(self):
        await asyncio.to_thread(self.reached.wait, 20)


# What it is


def test_it_tells_its_threads_and_that_nothing_takes_djangos_own_path():
    handler = handler_for([], DEFAULT_MIDDLEWARE, threads=3)
    assert handler.threads == 3
    assert handler.fallback_reasons == []
    assert handler.stats().threads == 0
    assert handler.close()


def test_it_serves_http_only():
    async def main():
        with pytest.raises(ValueError, match="not websocket"):
            await handler({"type": "websocket"}, None, None)

    handler = handler_for([])
    run(main, handler)


def test_a_synchronous_view_runs_in_the_pool_and_an_asynchronous_one_on_the_loop():
    async def main():
        assert (await get(handler, "/sync")).text.startswith("django-")
        assert (await get(handler, "/async")).text == "loop"

    with site([path("sync", sync_view), path("async", async_view)], DEFAULT_MIDDLEWARE):
        handler = ASGIHandler()
        run(main, handler)


def test_an_asynchronous_request_that_needs_no_thread_takes_none():
    async def main():
        for _ in range(20):
            assert (await get(handler, "/")).status == 200
        assert handler.stats().threads == 0

    with site([path("", async_view)], DEFAULT_MIDDLEWARE):
        handler = ASGIHandler()
        run(main, handler)


def test_classic_middleware_is_constructed_once_for_both_kinds_of_view():
    async def main():
        await get(handler, "/sync")
        await get(handler, "/async")
        assert Counting.constructed == 1

    Counting.constructed = 0
    with site([path("sync", sync_view), path("async", async_view)], [f"{HERE}.Counting"]):
        handler = ASGIHandler()
        run(main, handler)


class Counting(MiddlewareMixin):
    constructed = 0

    def __init__(self, get_response):
        type(self).constructed += 1
        super().__init__(get_response)

    def process_request(self, request):
        request.hook_thread = threading.get_ident()


def function_middleware(get_response):
    function_middleware.built += 1

    def middleware(request):
        return get_response(request)

    return middleware


def test_other_middleware_gets_its_second_chain_when_a_request_needs_it():
    async def main():
        await get(handler, "/async")
        assert function_middleware.built == 1
        assert (await get(handler, "/sync")).text.startswith("django-")
        await get(handler, "/sync")
        assert function_middleware.built == 2
        assert handler.fallback_reasons == []

    function_middleware.built = 0
    with site([path("sync", sync_view), path("async", async_view)], [f"{HERE}.function_middleware"]):
        handler = ASGIHandler()
        run(main, handler)


def on_start(**kwargs):
    pass


class Connecting:
    """Connects a receiver that isn't connected yet, each time it is built."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response
        signals.request_started.connect(self.on_start, weak=False)
        signals.request_started.connect(on_start)

    def on_start(self, **kwargs):
        pass

    def __call__(self, request):
        return self.get_response(request)


def test_a_second_chain_that_would_connect_a_receiver_twice_is_dropped_and_named():
    async def main():
        assert (await get(handler, "/")).text.startswith("django-")
        assert len(signals.request_started.receivers) == before + 2
        (reason,) = handler.fallback_reasons
        assert "Connecting.on_start" in reason
        assert "synchronous views" in reason

    receivers = list(signals.request_started.receivers)
    before = len(receivers)
    try:
        with site([path("", sync_view)], [f"{HERE}.Connecting"]):
            handler = ASGIHandler()
            run(main, handler)
    finally:
        signals.request_started.receivers[:] = receivers


class FailsTheSecondTime:
    sync_capable, async_capable = True, False
    built = 0

    def __init__(self, get_response):
        type(self).built += 1
        if type(self).built > 1:
            raise RuntimeError("only one of me")
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)


def test_a_second_chain_that_can_not_be_built_is_dropped_and_named():
    async def main():
        for _ in range(2):
            assert (await get(handler, "/")).text.startswith("django-")
        (reason,) = handler.fallback_reasons
        assert "only one of me" in reason

    FailsTheSecondTime.built = 0
    with site([path("", sync_view)], [f"{HERE}.FailsTheSecondTime"]):
        handler = ASGIHandler()
        run(main, handler)


def async_only_middleware(get_response):
    async def middleware(request):
        assert where() == "loop"
        return await get_response(request)

    return middleware


async_only_middleware.sync_capable = False
async_only_middleware.async_capable = True


def test_asynchronous_middleware_stays_on_the_loop_also_before_a_synchronous_view():
    async def main():
        assert (await get(handler, "/")).text.startswith("django-")
        (reason,) = handler.fallback_reasons
        assert "async_only_middleware" in reason

    with site([path("", sync_view)], [f"{HERE}.async_only_middleware"]):
        handler = ASGIHandler()
        run(main, handler)


def test_a_subclass_with_a_method_of_its_own_takes_djangos_path_which_calls_it():
    class Own(ASGIHandler):
        async def run_get_response(self, request):
            response = await super().run_get_response(request)
            response["X-Own"] = "1"
            return response

    async def main():
        assert (await get(handler, "/")).headers[b"x-own"] == b"1"
        assert "run_get_response" in handler.fallback_reasons[0]

    with site([path("", sync_view)]):
        handler = Own()
        run(main, handler)


# 3. The kind of view


class UrlconfMiddleware(MiddlewareMixin):
    def process_request(self, request):
        request.urlconf = type("other", (), {"urlpatterns": [path("", async_view, name="other")]})
        request.hook = 1


class PathMiddleware(MiddlewareMixin):
    def process_request(self, request):
        request.path_info = "/async"


def test_a_urlconf_or_path_changed_by_middleware_gets_the_right_view():
    async def main(path, expected):
        found = (await get(handler, path)).text
        assert (found == "loop") == (expected == "loop")

    patterns = [path("", sync_view), path("async", async_view)]
    for middleware in ("UrlconfMiddleware", "PathMiddleware"):
        with site(patterns, [f"{HERE}.{middleware}"]):
            handler = ASGIHandler()
            run(lambda: main("/", "loop"), handler)


class Squared:
    regex = "[0-9]+"
    calls = []

    def to_python(self, value):
        self.calls.append(variable.get())
        return int(value) ** 2

    def to_url(self, value):
        return str(value)


class VariableMiddleware(MiddlewareMixin):
    def process_request(self, request):
        variable.set("from middleware")

    def process_response(self, request, response):
        response["X-Variable"] = variable.get()
        return response


def test_a_converter_that_depends_on_middleware_gives_the_view_what_it_gives_under_django():
    register_converter(Squared, "squared")

    def view(request, number):
        return HttpResponse(f"{number} {request.resolver_match.kwargs} {variable.get()}")

    async def main():
        assert (await get(handler, "/3")).text == "9 {'number': 9} from middleware"
        assert Squared.calls[-1] == "from middleware"

    with site([path("<squared:number>", view), path("async", async_view)], [f"{HERE}.VariableMiddleware"]):
        handler = ASGIHandler()
        run(main, handler)


def test_views_behind_language_prefixes_are_found():
    from django.conf.urls.i18n import i18n_patterns

    async def main():
        assert (await get(handler, "/de/async")).text == "loop"
        assert (await get(handler, "/de/sync")).text.startswith("django-")
        assert (await get(handler, "/en/sync")).text.startswith("django-")
        assert (await get(handler, "/fr/sync")).status == 404

    patterns = i18n_patterns(path("sync", sync_view), path("async", async_view))
    languages = {"LANGUAGES": [("en", "English"), ("de", "German")], "LANGUAGE_CODE": "en", "USE_I18N": True}
    with site(patterns, ["django.middleware.locale.LocaleMiddleware"], **languages):
        handler = ASGIHandler()
        run(main, handler)


def test_among_five_hundred_patterns_each_view_runs_where_it_belongs():
    async def main():
        for n in (0, 249, 250, 499):
            found = (await get(handler, f"/{n}/")).text
            assert (found == "loop") == bool(n % 2)

    with site([path(f"{n}/", async_view if n % 2 else sync_view) for n in range(500)], DEFAULT_MIDDLEWARE):
        handler = ASGIHandler()
        run(main, handler)


def test_a_decorator_that_hides_a_coroutine_function_gives_djangos_error():
    def hidden(request):
        coroutine = async_view(request)
        coroutines.append(coroutine)
        return coroutine

    async def main():
        assert (await get(handler, "/")).status == 500
        coroutines[0].close()

    coroutines = []
    with site([path("", hidden)]):
        handler = ASGIHandler()
        run(main, handler)


# 4. Isolation


def test_context_variables_go_from_middleware_to_view_to_response_and_to_who_called_the_handler():
    def view(request):
        seen = variable.get()
        variable.set("from view")
        return HttpResponse(seen)

    async def aview(request):
        return view(request)

    async def main():
        for where_to in ("/sync", "/async"):
            client = Client(handler, where_to)
            variable.set("outside")
            await client.run()
            assert client.text == "from middleware"
            assert client.headers[b"x-variable"] == b"from view"
            assert variable.get() == "from view"

    with site([path("sync", view), path("async", aview)], [f"{HERE}.VariableMiddleware"]):
        handler = ASGIHandler()
        run(main, handler)


def test_context_variables_do_not_leak_into_the_next_request():
    def view(request):
        seen = variable.get()
        variable.set("leaked")
        return HttpResponse(seen)

    async def main():
        for _ in range(5):
            client = await asyncio.create_task(get(handler, "/"), context=contextvars.Context())
            assert client.text == "unset"

    with site([path("", view)]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_one_request_stays_in_one_thread_across_hooks_views_and_signals():
    threads = set()

    def note(*args, **kwargs):
        threads.add(threading.get_ident())

    async def view(request):
        note_async = sync_to_async(note)
        await note_async()
        await asyncio.sleep(0)
        await asyncio.gather(note_async(), note_async())
        threads.add(request.hook_thread)
        return HttpResponse()

    async def main():
        clients = [get(handler, "/") for _ in range(1)]
        await asyncio.gather(*clients)
        assert len(threads) == 1
        assert threading.get_ident() not in threads

    with (
        connected(signals.request_started, note),
        connected(signals.request_finished, note),
        site([path("", view)], [f"{HERE}.Counting"]),
    ):
        handler = ASGIHandler(4)
        run(main, handler)


# 5. Across the border, both ways


def test_async_to_sync_in_a_view_runs_on_the_servers_loop_and_comes_back_to_the_views_thread():
    async def inner():
        assert asyncio.get_running_loop() is loops[0]
        variable.set("from inner")
        return await sync_to_async(threading.get_ident)()

    def view(request):
        back = async_to_sync(inner)()
        return HttpResponse(f"{back == threading.get_ident()} {variable.get()}")

    async def main():
        loops.append(asyncio.get_running_loop())
        assert (await get(handler, "/")).text == "True from inner"

    loops = []
    with site([path("", view)], DEFAULT_MIDDLEWARE):
        handler = ASGIHandler(1)
        run(main, handler)


def test_nesting_both_ways_several_deep_stays_in_one_thread():
    def down(depth):
        return [threading.get_ident(), *(async_to_sync(up)(depth - 1) if depth else [])]

    async def up(depth):
        return await sync_to_async(down)(depth)

    async def aview(request):
        return HttpResponse(str(len(set(await up(3)))))

    def view(request):
        return HttpResponse(str(len(set(down(3)))))

    async def main():
        responses = await asyncio.gather(*(get(handler, "/sync" if n % 2 else "/async") for n in range(8)))
        assert {response.text for response in responses} == {"1"}

    with site([path("sync", view), path("async", aview)]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_asyncio_run_in_a_synchronous_view_works_and_may_use_thread_sensitive_code():
    async def inner():
        return await sync_to_async(deeper)(), threading.get_ident()

    def deeper():
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()  # the database may be used
        return async_to_sync(deepest)(), threading.get_ident()

    async def deepest():
        return asyncio.get_running_loop() is loops[0]

    def view(request):
        (on_server, there), here = asyncio.run(inner())
        return HttpResponse(f"{on_server} {here == there == threading.get_ident()}")

    async def main():
        loops.append(asyncio.get_running_loop())
        assert (await get(handler, "/")).text == "True True"

    loops = []
    with site([path("", view)]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_tasks_that_outlive_their_request_keep_working():
    results = []

    async def later(go):
        await go.wait()
        results.append(await sync_to_async(where)())

    async def aview(request):
        tasks.append(asyncio.create_task(later(go[0])))
        await sync_to_async(where)()
        return HttpResponse()

    def view(request):
        return async_to_sync(aview_inside)()

    async def aview_inside():
        tasks.append(asyncio.get_running_loop().create_task(later(go[0]), context=contextvars.Context()))
        return HttpResponse()

    async def main():
        go.append(asyncio.Event())
        await get(handler, "/async")
        await get(handler, "/sync")
        go[0].set()
        await asyncio.gather(*tasks)
        assert len(results) == 2
        assert any(name.startswith("django-") for name in results)

    tasks, go = [], []
    with site([path("async", aview), path("sync", view)]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_a_task_group_in_a_view_shares_the_requests_thread():
    async def view(request):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(sync_to_async(threading.get_ident)()) for _ in range(5)]
        return HttpResponse(str(len({task.result() for task in tasks})))

    async def main():
        assert (await get(handler, "/")).text == "1"

    with site([path("", view)]):
        handler = ASGIHandler(4)
        run(main, handler)


def test_under_a_parent_thread_everything_synchronous_runs_in_that_thread():
    async def aview(request):
        return HttpResponse(str(await sync_to_async(threading.get_ident)()))

    def view(request):
        return HttpResponse(str(threading.get_ident()))

    with site([path("async", aview), path("sync", view)], DEFAULT_MIDDLEWARE):
        handler = ASGIHandler()
        for where_to in ("/sync", "/async"):
            assert async_to_sync(get)(handler, where_to).text == str(threading.get_ident())
        assert handler.stats().threads == 0
        handler.close()


def test_under_somebody_elses_thread_sensitive_context_his_thread_is_used():
    async def main():
        async with ThreadSensitiveContext():
            thread = await sync_to_async(threading.get_ident)()
            assert (await get(handler, "/")).text == str(thread)

    with site([path("", lambda request: HttpResponse(str(threading.get_ident())))]):
        handler = ASGIHandler()
        run(main, handler)


@pytest.mark.parametrize("wrap", [lambda request: request, asyncio.create_task], ids=["awaited", "task"])
def test_a_request_within_a_request_shares_its_thread_and_does_not_wait_for_another(wrap):
    async def outer(request):
        thread = await sync_to_async(threading.get_ident)()
        inner = await wrap(get(handler, "/inner"))
        assert await sync_to_async(threading.get_ident)() == thread
        return HttpResponse(f"{inner.text == str(thread)}")

    def inner(request):
        return HttpResponse(str(threading.get_ident()))

    async def main():
        assert (await get(handler, "/outer")).text == "True"
        await idle(handler)

    with site([path("outer", outer), path("inner", inner)]):
        handler = ASGIHandler(1)
        run(main, handler)


# 6. Disconnect


@contextmanager
def counted_signals():
    counts = {"started": 0, "finished": 0}

    def started(**kwargs):
        counts["started"] += 1

    def finished(**kwargs):
        counts["finished"] += 1

    with connected(signals.request_started, started), connected(signals.request_finished, finished):
        yield counts


def test_an_asynchronous_view_is_cancelled_when_its_client_leaves():
    events = []

    async def view(request):
        reached.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    async def main():
        nonlocal reached
        reached = asyncio.Event()
        client = Client(handler, "/").start()
        await reached.wait()
        client.leave()
        await client.task
        assert events == ["cancelled"]
        assert client.messages == []

    reached = None
    with counted_signals() as counts, site([path("", view)]):
        handler = ASGIHandler()
        run(main, handler)
    assert counts == {"started": 1, "finished": 1}


def test_a_request_whose_client_left_while_it_waited_for_a_thread_never_runs_its_view():
    async def main():
        first = Client(handler, "/").start()
        await blocked.wait()
        second = Client(handler, "/").start()
        while not handler.stats().waiting:
            await asyncio.sleep(0)
        second.leave()
        while handler.stats().waiting:
            await asyncio.sleep(0)
        blocked.opened.set()
        await first.task
        await second.task
        assert blocked.calls == 1
        assert second.messages == []

    blocked = Blocked()
    with site([path("", blocked)]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_even_a_request_that_was_dropped_in_the_queue_has_its_signals():
    async def main():
        first = Client(handler, "/").start()
        await blocked.wait()
        second = Client(handler, "/").start()
        while not handler.stats().waiting:
            await asyncio.sleep(0)
        second.leave()
        await asyncio.sleep(0.01)
        blocked.opened.set()
        await asyncio.gather(first.task, second.task)
        assert blocked.calls == 1

    blocked = Blocked()
    with counted_signals() as counts, site([path("", blocked)]):
        handler = ASGIHandler(1)
        run(main, handler)
    assert counts == {"started": 2, "finished": 2}


def test_a_running_synchronous_view_ends_by_itself_and_its_answer_is_thrown_away():
    async def main():
        client = Client(handler, "/").start()
        await blocked.wait()
        client.leave()
        while not handler.stats().abandoned:
            await asyncio.sleep(0)
        assert not client.task.done()
        blocked.opened.set()
        await client.task
        assert client.messages == []
        await idle(handler)
        assert handler.stats().abandoned == 0
        assert (await get(handler, "/")).text == "late"

    blocked = Blocked()
    with counted_signals() as counts, site([path("", blocked)]):
        handler = ASGIHandler(1)
        run(main, handler)
    assert counts == {"started": 2, "finished": 2}


def test_what_a_synchronous_view_awaits_is_cancelled_when_its_client_leaves():
    async def inner():
        reached.set()
        await asyncio.sleep(60)

    def view(request):
        try:
            async_to_sync(inner)()
        except asyncio.CancelledError:
            ended.append(1)
            raise

    async def main():
        client = Client(handler, "/").start()
        await asyncio.to_thread(reached.wait, 20)
        client.leave()
        await client.task
        assert ended == [1]

    reached, ended = threading.Event(), []
    with site([path("", view)]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_a_cancelled_request_ends_with_cancelled_error_and_gives_its_thread_back():
    async def view(request):
        await sync_to_async(where)()
        await asyncio.sleep(60)

    async def main():
        client = Client(handler, "/").start()
        while not handler.stats().busy:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task
        await idle(handler)

    with site([path("", view)]):
        handler = ASGIHandler(1)
        run(main, handler)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_request_that_is_cancelled_from_outside_is_finished_as_any_other(kind):
    reached, go_on, ended = threading.Event(), threading.Event(), []

    def view(request):
        reached.set()
        go_on.wait(60)
        response = HttpResponse()
        response._resource_closers.append(lambda: ended.append("closed"))
        return response

    async def aview(request):
        reached.set()
        await asyncio.sleep(60)

    async def main():
        client = Client(handler, "/").start()
        while not reached.is_set():
            await asyncio.sleep(0.001)
        client.task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await client.task
        assert client.messages == []

    def finished(**kwargs):
        ended.append("finished")

    with (
        connected(signals.request_finished, finished),
        site([path("", view if kind == "sync" else aview)]),
    ):
        handler = ASGIHandler(1)
        run(main, handler)
    assert ended == (["closed", "finished"] if kind == "sync" else ["finished"])


def test_generators_are_closed_when_the_client_leaves():
    closed = []

    async def agen():
        try:
            yield b"first"
            await asyncio.sleep(60)
        finally:
            closed.append(("async", threading.get_ident()))

    def gen():
        try:
            made.append(threading.get_ident())
            yield b"first"
            while True:
                time.sleep(0.001)
                yield b"more"
        finally:
            closed.append(("sync", threading.get_ident()))

    async def main():
        for where_to in ("/async", "/sync", "/async-sync"):
            client = Client(handler, where_to).start()
            assert (await client.has(2))["body"] == b"first"
            client.leave()
            await client.task
        assert closed == [("async", threading.get_ident()), ("sync", made[0]), ("sync", made[1])]
        await idle(handler)

    made = []

    async def async_sync(request):
        return StreamingHttpResponse(gen())

    patterns = [
        path("async", lambda request: StreamingHttpResponse(agen())),
        path("sync", lambda request: StreamingHttpResponse(gen())),
        path("async-sync", async_sync),
    ]
    with counted_signals() as counts, site(patterns):
        handler = ASGIHandler(1)
        run(main, handler)
    assert counts == {"started": 3, "finished": 3}


# 7. The pool, from outside


def test_who_waits_too_long_for_a_thread_gets_503_with_retry_after():
    async def main():
        first = Client(handler, "/").start()
        await blocked.wait()
        refused = await get(handler, "/")
        assert refused.status == 503
        assert refused.headers[b"retry-after"] == b"1"
        blocked.opened.set()
        await first.task
        assert first.text == "late"
        assert (await get(handler, "/")).status == 200

    blocked = Blocked()
    with site([path("", blocked)]):
        handler = ASGIHandler(1, 0.1)
        run(main, handler)


def test_an_asynchronous_view_that_waits_too_long_for_a_thread_gets_timeout_error():
    async def view(request):
        try:
            await sync_to_async(where)()
        except TimeoutError as error:
            return HttpResponse(str(error))

    async def main():
        first = Client(handler, "/blocked").start()
        await blocked.wait()
        assert "within 0.1 seconds" in (await get(handler, "/")).text
        blocked.opened.set()
        await first.task

    blocked = Blocked()
    with site([path("", view), path("blocked", blocked)]):
        handler = ASGIHandler(1, thread_queue_timeout_seconds=0.1)
        run(main, handler)


def test_after_closing_requests_get_503():
    async def main():
        await handler.aclose()
        assert (await get(handler, "/")).status == 503

    with site([path("", sync_view)]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_closing_while_full_answers_what_runs_and_refuses_what_waits():
    async def main():
        first = Client(handler, "/").start()
        await blocked.wait()
        second = Client(handler, "/").start()
        while not handler.stats().waiting:
            await asyncio.sleep(0)
        closing = asyncio.create_task(handler.aclose())
        await second.task
        assert second.status == 503
        blocked.opened.set()
        await first.task
        assert first.text == "late"
        assert await closing

    blocked = Blocked()
    with site([path("", blocked)]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_a_handler_that_is_forgotten_leaves_no_thread_behind():
    async def main():
        return (await get(handlers[0], "/")).text

    with site([path("", sync_view)]):
        handlers = [ASGIHandler(1)]
        name = asyncio.run(main())
        thread = next(thread for thread in threading.enumerate() if thread.name == name)
        forgotten = weakref.ref(handlers.pop())
        deadline = time.monotonic() + 10
        while forgotten() is not None and time.monotonic() < deadline:  # the thread may still be letting go of its job
            gc.collect()
        thread.join(10)
        assert not thread.is_alive()


# Streaming


def test_each_chunk_of_a_synchronous_iterator_leaves_when_it_is_made():
    def gen():
        for n in range(3):
            made.append(n)
            yield b"%d" % n
            assert go.wait(20)
            go.clear()

    async def main():
        client = Client(handler, "/").start()
        for n in range(3):
            assert (await client.has(n + 2))["body"] == b"%d" % n
            assert made == list(range(n + 1))
            go.set()
        await client.task
        assert client.body == b"012"

    made, go = [], threading.Event()
    with site([path("", lambda request: StreamingHttpResponse(gen()))]):
        handler = ASGIHandler(1)
        run(main, handler)


def test_a_synchronous_iterator_runs_in_the_views_thread_to_its_end():
    def gen(thread):
        for _ in range(3):
            yield f"{threading.get_ident() == thread} "

    def view(request):
        return StreamingHttpResponse(gen(threading.get_ident()))

    async def main():
        clients = await asyncio.gather(*(get(handler, "/") for _ in range(12)))
        assert {client.text for client in clients} == {"True True True "}
        await idle(handler)

    with site([path("", view)]):
        handler = ASGIHandler(2)
        run(main, handler)


def test_an_asynchronous_stream_holds_no_thread_and_its_steps_may_take_any():
    async def gen():
        yield (await sync_to_async(where)()).encode()
        await waiting.wait()
        yield (await sync_to_async(where)()).encode()

    async def view(request):
        await sync_to_async(where)()
        return StreamingHttpResponse(gen())

    async def main():
        nonlocal waiting
        waiting = asyncio.Event()
        clients = [Client(handler, "/stream").start() for _ in range(10)]
        for client in clients:
            await client.has(2)
        await idle(handler)
        assert (await get(handler, "/sync")).status == 200
        waiting.set()
        await asyncio.gather(*(client.task for client in clients))
        assert all(len(client.messages) == 4 for client in clients)

    waiting = None
    for make in (view, lambda request: StreamingHttpResponse(gen())):
        with site([path("stream", make), path("sync", sync_view)]):
            handler = ASGIHandler(2)
            run(main, handler)


def test_a_file_is_read_in_chunks_as_the_client_takes_them_and_holds_no_thread_of_the_pool(tmp_path):
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    opened = []

    def view(request):
        opened.append((tmp_path / "file").open("rb"))
        return FileResponse(opened[-1])

    async def main():
        client = Client(handler, "/")
        gate = asyncio.Event()
        plain = client.send

        async def slow(message):
            await plain(message)
            if len(client.messages) == 3:
                await gate.wait()

        client.send = slow
        client.start()
        await client.has(3)
        await asyncio.sleep(0.01)
        assert opened[0].tell() <= 3 * 2**16
        await idle(handler)
        gate.set()
        await client.task
        assert client.body == content
        assert opened[0].closed

    with site([path("", view)], DEFAULT_MIDDLEWARE):
        handler = ASGIHandler(1)
        run(main, handler)


# Bodies and errors


def test_bodies_arrive_whole_in_one_piece_or_several():
    def view(request):
        return HttpResponse(f"{len(request.body)} {request.POST.get('a')}")

    async def main():
        form = [(b"content-type", b"application/x-www-form-urlencoded")]
        assert (await get(handler, "/", method="POST", body=b"a=1", headers=form)).text == "3 1"
        client = Client(handler, "/", method="POST", headers=form)
        client.incoming = asyncio.Queue()
        for part, more in ((b"a=", True), (b"2", True), (b"3", False)):
            client.incoming.put_nowait({"type": "http.request", "body": part, "more_body": more})
        await client.run()
        assert client.text == "4 23"
        big = b"a=" + b"x" * 5_000_000
        assert (await get(handler, "/", method="POST", body=big)).text == f"{len(big)} None"

    with site([path("", view)], DATA_UPLOAD_MAX_MEMORY_SIZE=None):
        handler = ASGIHandler()
        run(main, handler)


def test_a_client_that_leaves_before_its_body_is_read_leaves_no_trace():
    async def main():
        client = Client(handler, "/")
        client.incoming = asyncio.Queue()
        client.leave()
        await client.run()
        assert client.messages == []

    with counted_signals() as counts, site([path("", sync_view)]):
        handler = ASGIHandler()
        run(main, handler)
    assert counts == {"started": 0, "finished": 0}


def test_the_body_can_be_read_by_a_task_that_starts_after_the_view():
    """The request isn't closed before its last byte is sent, however early its signals may be over."""

    async def later(request):
        results.append(request.body)

    async def view(request):
        tasks.append(asyncio.create_task(later(request)))
        return HttpResponse()

    async def main():
        client = Client(handler, "/", method="POST", body=b"body")
        await client.run()
        await asyncio.gather(*tasks)
        assert results == [b"body"]

    results, tasks = [], []
    with site([path("", view)]):
        handler = ASGIHandler()
        run(main, handler)


def test_an_exception_from_a_receiver_reaches_the_server():
    def fails(**kwargs):
        raise ZeroDivisionError

    async def main():
        for where_to in ("/sync", "/async"):
            with pytest.raises(ZeroDivisionError):
                await get(handler, where_to)
        await idle(handler)

    patterns = [path("sync", sync_view), path("async", async_view)]
    with connected(signals.request_started, fails), site(patterns):
        handler = ASGIHandler(1)
        run(main, handler)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exceptions_that_are_no_errors_pass_through(error):
    def view(request):
        raise error

    async def aview(request):
        raise error

    async def end():
        await idle(handler)
        await handler.aclose()

    with site([path("sync", view), path("async", aview)]):
        handler = ASGIHandler(1)
        loop = asyncio.new_event_loop()
        for where_to in ("/sync", "/async"):
            with pytest.raises(error):
                loop.run_until_complete(Client(handler, where_to).run())
        loop.run_until_complete(end())
        loop.close()
