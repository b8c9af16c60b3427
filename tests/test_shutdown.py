"""django_asgi_deploy.shutdown, each test in an interpreter of its own: what has begun in a process can't be undone."""

import subprocess
import sys
import textwrap

import pytest

from tests.utils import DEADLINE_SECONDS


def prints(source: str) -> list[str]:
    """The lines that ``main()`` prints."""
    program = (
        "import asyncio, sys, threading\n"
        "from django_asgi_deploy import shutdown\n"
        f"{textwrap.dedent(source)}\n"
        "asyncio.run(main())\n"
        "assert 'django' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SOURCE = """
    async def source():
        try:
            yield 1
            await asyncio.sleep(60)
            yield 2
        finally:
            print("closed")
"""


def test_a_source_that_waits_is_closed_when_draining_begins() -> None:
    lines = prints(
        SOURCE
        + """
    async def main():
        async for item in shutdown.until_shutdown(source()):
            print(item)
            shutdown.begin()
        print("over")
    """
    )
    assert lines == ["1", "closed", "over"]


def test_it_may_begin_in_another_thread() -> None:
    lines = prints(
        SOURCE
        + """
    async def main():
        threading.Timer(0.05, shutdown.begin).start()
        print([item async for item in shutdown.until_shutdown(source())])
    """
    )
    assert lines == ["closed", "[1]"]


def test_a_source_that_ends_or_fails_by_itself_is_left_as_it_is() -> None:
    lines = prints("""
    async def short():
        yield 1
    async def late():
        yield 1
        raise TimeoutError("its own")
    async def main():
        print([item async for item in shutdown.until_shutdown(short())])
        try:
            async for item in shutdown.until_shutdown(late()):
                pass
        except TimeoutError as error:
            print(error)
    """)
    assert lines == ["[1]", "its own"]


def test_a_client_that_leaves_closes_the_source() -> None:
    lines = prints(
        SOURCE
        + """
    async def main():
        async def view():
            async for item in shutdown.until_shutdown(source()):
                print(item)
        task = asyncio.create_task(view())
        await asyncio.sleep(0.05)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            print("cancelled")
    """
    )
    assert lines == ["1", "closed", "cancelled"]


def test_the_steps_of_a_source_share_one_task_and_one_context() -> None:
    lines = prints("""
    import contextvars
    var = contextvars.ContextVar("var")
    async def source():
        async with asyncio.timeout(60):
            var.set("kept")
            yield asyncio.current_task()
            yield var.get()
    async def main():
        task, value = [item async for item in shutdown.until_shutdown(source())]
        print(task is asyncio.current_task(), value)
    """)
    assert lines == ["True kept"]


@pytest.mark.parametrize("first", [True, False])
def test_whoever_waits_is_told_also_if_it_has_begun_before(first: bool) -> None:
    lines = prints(f"""
    async def main():
        print(shutdown.is_announced(), shutdown.has_begun())
        shutdown.announce()
        print(shutdown.is_announced(), shutdown.has_begun())
        if {first}:
            shutdown.begin()
        else:
            asyncio.get_running_loop().call_later(0.05, shutdown.begin)
        await shutdown.wait_for_shutdown()
        print(shutdown.is_announced(), shutdown.has_begun())
        print([item async for item in shutdown.until_shutdown(shutdown.until_shutdown(aiter_of(1)))])
    async def aiter_of(item):
        yield item
    """)
    assert lines == ["False False", "True False", "True True", "[]"]
