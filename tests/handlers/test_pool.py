"""The thread pool, with real threads and a real event loop."""

# ruff: noqa: ASYNC110 - what another thread does sets no asyncio.Event

import asyncio
import gc
import logging
import os
import random
import threading
import time
import warnings
import weakref

import pytest

from django_asgi_deploy.handlers.pool import PoolClosed, QueueTimeout, ThreadPool

SECONDS = 20


def on_loop(main):
    asyncio.run(asyncio.wait_for(main(), SECONDS))


class Gate:
    """Holds a thread until it is opened; says when the thread has come."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self.opened = threading.Event()

    def __call__(self):
        self.loop.call_soon_threadsafe(self.reached.set)
        assert self.opened.wait(SECONDS)
        return threading.current_thread()


async def until(condition):
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


def test_jobs_return_what_they_return_and_raise_what_they_raise():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        assert await pool.submit(lambda: 42, loop).future == 42
        with pytest.raises(ZeroDivisionError):
            await pool.submit(lambda: 1 / 0, loop).future
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.submit(lambda: next(iter(())), loop).future
        assert await pool.aclose()

    on_loop(main)


def test_there_are_never_more_threads_than_the_pool_may_have_and_none_before_they_are_needed():
    async def main():
        pool, loop = ThreadPool(3), asyncio.get_running_loop()
        assert pool.stats().threads == 0
        threads = set()
        jobs = [pool.submit(lambda: (threads.add(threading.get_ident()), time.sleep(0.001)), loop) for _ in range(200)]
        await asyncio.gather(*(job.future for job in jobs))
        assert len(threads) <= 3
        assert pool.stats().threads <= 3
        assert await pool.aclose()

    on_loop(main)


def test_first_come_first_served():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        gate, order = Gate(), []
        jobs = [pool.submit(gate, loop), *(pool.submit(lambda n=n: order.append(n), loop) for n in range(50))]
        gate.opened.set()
        await asyncio.gather(*(job.future for job in jobs))
        assert order == list(range(50))
        assert await pool.aclose()

    on_loop(main)


def test_the_thread_that_was_idle_last_is_taken_first():
    async def main():
        pool, loop = ThreadPool(8), asyncio.get_running_loop()
        gates = [Gate() for _ in range(4)]
        jobs = [pool.submit(gate, loop) for gate in gates]
        for gate in gates:
            await gate.reached.wait()
        for busy, gate, job in zip((3, 2, 1, 0), gates, jobs, strict=True):
            gate.opened.set()
            last = await job.future
            await until(lambda busy=busy: pool.stats().busy == busy)  # it is idle before the next one is
        assert await pool.submit(threading.current_thread, loop).future is last
        assert await pool.aclose()

    on_loop(main)


def test_a_lease_keeps_its_thread_between_jobs_and_nobody_else_gets_it():
    async def main():
        pool, loop = ThreadPool(2), asyncio.get_running_loop()
        mine, other = pool.lease("mine"), pool.lease("other")
        first = await mine.submit(threading.get_ident, loop).future
        others = {await other.submit(threading.get_ident, loop).future for _ in range(3)}
        assert first not in others
        assert await mine.submit(threading.get_ident, loop).future == first
        waiting = pool.submit(threading.get_ident, loop)
        await asyncio.sleep(0.01)
        assert not waiting.future.done()  # both threads are kept
        assert pool.stats().waiting == 1
        mine.end()
        assert await waiting.future == first
        other.end()
        assert await pool.aclose()

    on_loop(main)


def test_a_threads_last_duty_runs_before_anybody_elses_job_and_without_one_too():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        order = []
        lease = pool.lease("first")
        await lease.submit(lambda: order.append("first"), loop).future
        lease.end(lambda: order.append("duty"))
        await pool.submit(lambda: order.append("second"), loop).future
        assert order == ["first", "duty", "second"]
        lease = pool.lease("third")
        await lease.submit(lambda: None, loop).future
        lease.end(lambda: order.append("last duty"))
        await until(lambda: order[-1] == "last duty")
        assert await pool.aclose()

    on_loop(main)


def test_a_duty_is_done_for_a_lease_that_ends_while_its_job_runs_or_waits():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        gate, order = Gate(), []
        running, queued = pool.lease("running"), pool.lease("queued")
        running.submit(gate, loop)
        queued.submit(lambda: order.append("job"), loop)
        await gate.reached.wait()
        running.end(lambda: order.append("running's duty"))
        queued.end(lambda: order.append("queued's duty"))
        gate.opened.set()
        await until(lambda: len(order) == 3)
        assert order == ["running's duty", "job", "queued's duty"]
        assert await pool.aclose()

    on_loop(main)


def test_a_job_withdrawn_in_time_never_runs():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        gate, ran = Gate(), []
        running = pool.submit(gate, loop)
        await gate.reached.wait()
        queued = pool.submit(lambda: ran.append(1), loop)
        assert queued.withdraw()
        assert not running.withdraw()
        assert pool.stats().waiting == 0
        gate.opened.set()
        await running.future
        await pool.submit(lambda: None, loop).future
        assert not ran
        assert await pool.aclose()

    on_loop(main)


def test_a_job_whose_waiter_was_cancelled_can_be_waited_for_again():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        gate = Gate()
        job = pool.submit(gate, loop)
        await gate.reached.wait()
        job.future.cancel()
        again = asyncio.ensure_future(job.ended())
        await asyncio.sleep(0.01)
        assert not again.done()
        gate.opened.set()
        await again
        assert await pool.aclose()

    on_loop(main)


def test_who_waits_too_long_is_told_so_and_the_others_are_not():
    async def main():
        pool, loop = ThreadPool(1, queue_timeout_seconds=0.05), asyncio.get_running_loop()
        gate = Gate()
        running, late = pool.submit(gate, loop), pool.submit(lambda: "never", loop)
        await gate.reached.wait()
        await asyncio.sleep(0.06)
        fresh = pool.submit(lambda: "fresh", loop)
        pool.tick()
        with pytest.raises(QueueTimeout, match=r"within 0\.05 seconds") as caught:
            await late.future
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.retry_after == 1
        gate.opened.set()
        await running.future
        assert await fresh.future == "fresh"
        assert await pool.aclose()

    on_loop(main)


def test_a_job_that_hangs_is_counted_and_named_in_the_log_once(caplog):
    async def main():
        pool, loop = ThreadPool(2, hung_seconds=0.01), asyncio.get_running_loop()
        gate = Gate()
        job = pool.submit(gate, loop, "GET /slow/")
        await gate.reached.wait()
        await asyncio.sleep(0.02)
        pool.tick()
        pool.tick()
        assert pool.stats().hung == 1
        gate.opened.set()
        await job.future
        await until(lambda: pool.stats().hung == 0)
        assert await pool.aclose()

    with caplog.at_level(logging.WARNING):
        on_loop(main)
    (record,) = caplog.records
    assert "GET /slow/" in record.getMessage()
    assert "1 of 2 threads are left" in record.getMessage()


def test_closing_fails_what_is_queued_and_waits_for_what_runs():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        gate = Gate()
        running, queued = pool.submit(gate, loop), pool.submit(lambda: "never", loop)
        await gate.reached.wait()
        closing = asyncio.ensure_future(pool.aclose())
        with pytest.raises(PoolClosed):
            await queued.future
        with pytest.raises(PoolClosed):
            pool.submit(lambda: None, loop)
        gate.opened.set()
        await running.future
        assert await closing

    on_loop(main)


def test_a_request_in_its_thread_finishes_while_the_pool_closes():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        lease, duties = pool.lease("a request"), []
        thread = await lease.submit(threading.get_ident, loop).future
        closing = asyncio.ensure_future(pool.aclose())
        await asyncio.sleep(0.01)
        assert await lease.submit(threading.get_ident, loop).future == thread
        lease.end(lambda: duties.append(1))
        assert await closing
        assert duties == [1]

    on_loop(main)


def test_jobs_that_need_the_event_loop_can_finish_while_the_pool_closes():
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        gate = Gate()

        def job():
            gate()
            return asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "from the loop"), loop).result(SECONDS)

        running = pool.submit(job, loop)
        await gate.reached.wait()
        closing = asyncio.ensure_future(pool.aclose())
        gate.opened.set()
        assert await closing
        assert await running.future == "from the loop"

    on_loop(main)


def test_a_job_that_never_ends_is_left_behind_and_named(caplog):
    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        gate = Gate()
        job = pool.submit(gate, loop, "GET /forever/")
        await gate.reached.wait()
        assert not await pool.aclose(timeout_seconds=0.05)
        gate.opened.set()
        await job.future
        assert await pool.aclose()

    with caplog.at_level(logging.WARNING):
        on_loop(main)
    assert "GET /forever/" in caplog.text


def test_close_works_outside_of_an_event_loop():
    async def main():
        await pool.submit(lambda: None, asyncio.get_running_loop()).future

    pool = ThreadPool(2)
    on_loop(main)
    assert pool.close()
    assert pool.stats().threads == 0


def test_an_idle_thread_ends_and_says_farewell_from_itself():
    async def main():
        loop, farewells = asyncio.get_running_loop(), []
        pool = ThreadPool(2, idle_seconds=0.02, farewell=lambda: farewells.append(threading.get_ident()))
        thread = await pool.submit(threading.get_ident, loop).future
        await until(lambda: pool.stats().threads == 0)
        assert farewells == [thread]
        assert await pool.submit(lambda: "a new one", loop).future == "a new one"
        assert await pool.aclose()
        assert len(farewells) == 2

    on_loop(main)


def test_a_thread_kept_by_a_lease_is_not_idle():
    async def main():
        pool, loop = ThreadPool(1, idle_seconds=0.01), asyncio.get_running_loop()
        lease = pool.lease("a request")
        thread = await lease.submit(threading.get_ident, loop).future
        await asyncio.sleep(0.05)
        assert await lease.submit(threading.get_ident, loop).future == thread
        lease.end()
        assert await pool.aclose()

    on_loop(main)


def test_the_threads_of_a_forgotten_pool_end():
    async def main():
        pool = ThreadPool(2)
        thread = await pool.submit(threading.current_thread, asyncio.get_running_loop()).future
        del pool
        gc.collect()
        await until(lambda: not thread.is_alive())

    on_loop(main)


def test_an_idle_thread_keeps_nothing_of_its_last_job_alive():
    class Thing:
        pass

    async def main():
        pool, loop = ThreadPool(1), asyncio.get_running_loop()
        thing = Thing()
        gone = weakref.ref(thing)
        await pool.submit(lambda thing=thing: thing, loop).future
        await until(lambda: pool.stats().busy == 0)
        await asyncio.sleep(0)  # the event loop itself holds the future whose callback it is in
        del thing
        gc.collect()
        assert gone() is None
        assert await pool.aclose()

    on_loop(main)


def test_the_pool_works_in_a_forked_child_with_threads_of_its_own():
    async def use():
        return await pool.submit(lambda: (os.getpid(), threading.get_ident()), asyncio.get_running_loop()).future

    pool = ThreadPool(2)
    assert asyncio.run(use())[0] == os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: that is what is tried
        child = os.fork()
    if not child:
        try:
            ok = pool.stats().threads == 0 and asyncio.run(asyncio.wait_for(use(), 10))[0] == os.getpid()
            os._exit(0 if ok else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(use())[0] == os.getpid()
    assert pool.close()


def test_one_thread_serves_several_event_loops():
    async def use():
        return await pool.submit(threading.get_ident, asyncio.get_running_loop()).future

    pool = ThreadPool(1)
    assert asyncio.run(use()) == asyncio.run(use())
    assert pool.close()


@pytest.mark.parametrize("seed", range(5))
def test_many_leases_at_once_each_stay_in_one_thread_and_in_order(seed):
    """The pool under a random load: no job is lost, doubled, out of order or in a thread that isn't its lease's."""
    size, chance = 4, random.Random(seed)
    inside = set()

    async def main():
        pool, loop = ThreadPool(size, idle_seconds=chance.choice([0.0005, 10])), asyncio.get_running_loop()
        finished = []

        def step(lease, number, seen):
            thread = threading.get_ident()
            assert thread not in inside
            inside.add(thread)
            time.sleep(chance.choice([0, 0, 0, 0.0005]))
            seen.append((number, thread))
            inside.remove(thread)

        async def request(number):
            lease, seen = pool.lease(number), []
            await asyncio.sleep(chance.random() * 0.02)
            for n in range(chance.randrange(1, 5)):
                await lease.submit(lambda n=n: step(lease, n, seen), loop).future
                if chance.random() < 0.3:
                    await asyncio.sleep(0.0005)
            lease.end(chance.choice([None, lambda: step(lease, 99, seen)]))
            finished.append(seen)

        await asyncio.gather(*(request(number) for number in range(300)))
        await until(lambda: pool.stats().busy == 0)
        assert len(finished) == 300
        for seen in finished:
            assert [number for number, _ in seen] == sorted(number for number, _ in seen)
            assert len({thread for _, thread in seen}) == 1
        assert pool.stats().threads <= size
        assert await pool.aclose()

    on_loop(main)


def test_a_pool_needs_a_thread():
    with pytest.raises(ValueError, match="not 0"):
        ThreadPool(0)
