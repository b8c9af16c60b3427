"""Django's asynchronous queries take a shorter way to their thread, where all is as with asgiref's sync_to_async()."""

import asyncio
import contextvars
import sys
import threading

import pytest
from asgiref.local import Local
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db.models import query
from django.db.models.signals import pre_init
from django.http import HttpResponse
from django.urls import path

from django_asgi_deploy.handlers import affinity
from django_asgi_deploy.handlers.asgi import ASGIHandler
from tests.handlers.client import get, run, site

WAYS = {"asgiref": lambda call: sync_to_async(call), "ours": lambda call: query.sync_to_async(call)}
variable = contextvars.ContextVar("variable", default="unset")
local = Local()


class Calls:
    """What is called in the thread."""

    def __init__(self):
        self.events = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def echo(self, *args, **kwargs):
        return args, kwargs

    def fail(self):
        raise LookupError("no such thing")

    def stop(self):
        raise StopIteration

    def exchange(self):
        seen = variable.get(), local.value
        variable.set("from the thread")
        local.value = "from the thread"
        return seen

    def exception(self):
        return repr(sys.exc_info()[1])

    def thread(self):
        return threading.get_ident()

    def nested(self):
        async def outer():
            return threading.get_ident(), await sync_to_async(threading.get_ident)()

        return threading.get_ident(), *async_to_sync(outer)()

    async def asynchronous(self):
        """Not to be given to sync_to_async()."""

    def block(self):
        self.begun.set()
        assert self.go_on.wait(30)
        self.events.append("blocked")

    def note(self):
        self.events.append("noted")

    def wait(self, at_the_end):
        async def waits():
            self.begun.set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.events.append("cancelled inside")
                return at_the_end()

        try:
            return async_to_sync(waits)()
        finally:
            assert self.go_on.wait(30)
            self.events.append("left")


class Taken:
    """How often the shorter way was taken."""

    def __init__(self, monkeypatch):
        self.count = 0
        step = affinity.RequestThread.step

        async def counting(owner, call):
            self.count += 1
            return await step(owner, call)

        monkeypatch.setattr(affinity.RequestThread, "step", counting)


@pytest.fixture
def taken(monkeypatch):
    return Taken(monkeypatch)


def in_a_view(scenario, *args):
    """What ``scenario`` returns in an asynchronous view, and what was reported to its event loop."""
    outcome, reported = [], []

    async def view(request):
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))
        outcome.append(await scenario(*args))
        return HttpResponse()

    async def main():
        assert (await get(handler)).status == 200

    with site([path("", view)]):
        handler = ASGIHandler(2)
        run(main, handler)
    return outcome[0], reported


def both(scenario, taken, times):
    """The outcome, which is the same by both ways."""
    of_asgiref = in_a_view(scenario, WAYS["asgiref"])
    assert taken.count == 0
    assert in_a_view(scenario, WAYS["ours"]) == of_asgiref
    assert taken.count == times
    outcome, reported = of_asgiref
    assert reported == []
    return outcome


def test_arguments_go_in_and_the_result_comes_back(taken):
    async def scenario(way):
        return await way(Calls().echo)(1, call="x", two=2)

    assert both(scenario, taken, 1) == ((1,), {"call": "x", "two": 2})


@pytest.mark.parametrize("method", ["fail", "stop"])
def test_an_exception_comes_back(taken, method):
    async def scenario(way):
        try:
            await way(getattr(Calls(), method))()
        except Exception as error:
            return type(error), str(error)

    assert both(scenario, taken, 1)[0] in (LookupError, RuntimeError)


def test_context_variables_and_locals_go_in_and_come_back(taken):
    async def scenario(way):
        variable.set("from the view")
        local.value = "from the view"
        return await way(Calls().exchange)(), variable.get(), local.value

    there = ("from the view", "from the view")
    assert both(scenario, taken, 1) == (there, "from the thread", "from the thread")


def test_the_exception_being_handled_is_known_in_the_thread(taken):
    async def scenario(way):
        try:
            raise ValueError("outside")
        except ValueError:
            return await way(Calls().exception)()

    assert both(scenario, taken, 1) == "ValueError('outside')"


def test_all_calls_run_in_the_requests_thread_also_those_from_within_async_to_sync(taken):
    async def scenario(way):
        calls = Calls()
        thread = await way(calls.thread)()
        inside, loop, back = await way(calls.nested)()
        others = await asyncio.gather(*(way(calls.thread)() for _ in range(5)), sync_to_async(calls.thread)())
        assert thread != threading.get_ident() == loop
        return {thread, inside, back, *others} == {thread}

    assert both(scenario, taken, 7)


def test_a_coroutine_function_is_refused(taken):
    async def scenario(way):
        with pytest.raises(TypeError) as raised:
            await way(Calls().asynchronous)()
        return str(raised.value)

    assert both(scenario, taken, 0) == "sync_to_async can only be applied to sync functions."


def test_a_cancelled_task_doesnt_wait_for_a_call_that_runs_and_what_is_queued_never_begins(taken):
    async def scenario(way):
        calls = Calls()
        running = asyncio.create_task(way(calls.block)())
        await asyncio.to_thread(calls.begun.wait)
        queued = asyncio.create_task(way(calls.note)())
        await asyncio.sleep(0)
        for task in (running, queued):
            task.cancel()
        ended = await asyncio.gather(running, queued, return_exceptions=True)
        before = list(calls.events)
        calls.go_on.set()
        await way(calls.echo)()
        return [type(error) for error in ended], before, calls.events

    cancelled = asyncio.CancelledError
    assert both(scenario, taken, 3) == ([cancelled, cancelled], [], ["blocked"])


def refuse():
    return "refused"


def fail():
    raise ValueError("instead")


def agree():
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("at_the_end", "outcome"),
    [(refuse, "refused"), (fail, "instead"), (agree, "CancelledError")],
)
def test_what_async_to_sync_waits_for_in_a_call_is_cancelled_and_may_refuse(taken, at_the_end, outcome):
    async def scenario(way):
        calls = Calls()
        task = asyncio.create_task(way(calls.wait)(at_the_end))
        await asyncio.to_thread(calls.begun.wait)
        task.cancel()
        for _ in range(50):  # turns of the loop, in which the cancellation takes its way
            await asyncio.sleep(0)
        calls.go_on.set()
        [found] = await asyncio.gather(task, return_exceptions=True)
        await way(calls.echo)()
        return str(found) or type(found).__name__, calls.events

    assert both(scenario, taken, 2) == (outcome, ["cancelled inside", "left"])


def test_elsewhere_than_on_the_requests_loop_asgirefs_way_is_taken(taken):
    calls = Calls()

    async def scenario():
        async def on_another_loop():
            return await query.sync_to_async(calls.echo)(1)

        found = [
            await asyncio.to_thread(asyncio.run, on_another_loop()),
            await sync_to_async(asyncio.run)(on_another_loop()),
        ]
        async with ThreadSensitiveContext() as other:
            SyncToAsync.thread_sensitive_context.set(other)
            found.append(await query.sync_to_async(calls.echo)(1))
        return found

    assert in_a_view(scenario) == ([((1,), {})] * 3, [])
    assert asyncio.run(query.sync_to_async(calls.echo)(1)) == ((1,), {})  # without a request
    assert async_to_sync(query.sync_to_async(calls.echo))(1) == ((1,), {})
    assert taken.count == 0


def test_a_task_that_outlives_its_request_takes_asgirefs_way(taken):
    tasks = []

    async def view(request):
        async def later():
            await over.wait()
            return await query.sync_to_async(Calls().echo)(1)

        tasks.append(asyncio.create_task(later()))
        return HttpResponse()

    async def main():
        await get(handler)
        over.set()
        assert await tasks[0] == ((1,), {})

    with site([path("", view)]):
        over = asyncio.Event()
        handler = ASGIHandler(2)
        run(main, handler)
    assert taken.count == 0


def test_a_changed_sync_to_async_is_called(taken, monkeypatch):
    called = []
    before = SyncToAsync.__call__

    async def watching(self, *args, **kwargs):
        called.append(self.func.__name__)
        return await before(self, *args, **kwargs)

    async def scenario():
        return await query.sync_to_async(Calls().echo)(1)

    monkeypatch.setattr(SyncToAsync, "__call__", watching)
    assert in_a_view(scenario) == (((1,), {}), [])
    assert called == ["echo"]
    assert taken.count == 0


def test_queries_take_the_shorter_way(taken, monkeypatch):
    monkeypatch.setattr(User, "save", lambda self, **options: setattr(self, "saved", threading.current_thread().name))

    async def scenario():
        user = User()
        await user.asave()
        assert not await User.objects.none().aexists()
        assert await User.objects.none().acount() == 0
        assert [user async for user in User.objects.none()] == []
        return user.saved.startswith("django-")

    assert in_a_view(scenario) == (True, [])
    assert taken.count == 4


@pytest.mark.parametrize("is_async", [True, False])
def test_signal_receivers_of_a_model_run_where_they_always_did(taken, is_async):
    """Django calls an asynchronous one by async_to_sync(), on the event loop of the server."""

    async def scenario(way):
        seen = []

        def receiver(**options):
            seen.append(threading.current_thread().name.startswith("django-"))

        async def asynchronous(**options):
            seen.append(threading.current_thread() is threading.main_thread())

        connected = asynchronous if is_async else receiver
        pre_init.connect(connected, sender=User)
        try:
            await way(Maker().make)()
        finally:
            pre_init.disconnect(connected, sender=User)
        return seen

    class Maker:
        def make(self):
            return User(username="ada")

    assert both(scenario, taken, 1) == [True]
