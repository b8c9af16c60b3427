"""
Threads for synchronous code: bounded, first come first served, one thread per request for as long as it needs one.

A request claims a thread with a ``Lease``; leases wait in one queue, and the thread that was idle last takes the next
one. A thread runs all jobs of its lease, and waits for more as long as the lease is held; so two jobs of one lease
never run in two threads, nor at once.

One lock guards everything that two threads touch. It is held for a few list operations, never while other code runs.
This file is over 400 lines because queue, leases and workers share that lock and are only right together.
"""

import asyncio
import logging
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

IDLE, QUEUED, RUNNING, PARKED = range(4)  # what a lease is doing

FLUSH_SECONDS = 0.002  # how long a thread's last duty may wait for a new request to share the wake-up with


class QueueTimeout(TimeoutError):
    """No thread came free in time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"No thread came free within {seconds:g} seconds; raise THREADS, or find what holds them.")

    @property
    def retry_after(self) -> int:
        return max(1, math.ceil(self.seconds))


class PoolClosed(RuntimeError):
    """The pool takes no new work: the process is shutting down."""

    def __init__(self) -> None:
        super().__init__("The thread pool is closed: the process is shutting down.")


@dataclass(frozen=True, slots=True)
class PoolStats:
    """One moment of a pool, for metrics."""

    threads: int  # alive
    busy: int  # running a job, or kept by a request between two jobs
    waiting: int  # requests that wait for a thread
    hung: int  # threads in one job for longer than the pool's hung_seconds
    abandoned: int  # threads in a job whose client has left


class Job:
    """One call, and where its outcome goes."""

    __slots__ = ("call", "delivered", "error", "future", "lease", "mailbox", "result")

    def __init__(self, call: Callable[[], Any], mailbox: "Mailbox", lease: "Lease") -> None:
        self.call = call
        self.mailbox = mailbox
        self.lease = lease
        self.future: asyncio.Future[Any] = mailbox.loop.create_future()
        self.delivered = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        if self.future.cancelled():  # asgiref cancels what it no longer wants; withdraw() is the exact way
            return
        try:
            self.result = self.call()
        except BaseException as error:  # not ours to judge: it goes to whoever awaits
            self.error = error

    def deliver(self) -> None:
        """Runs on the future's loop."""
        self.delivered = True
        future, error = self.future, self.error
        if not future.done():
            if error is None:
                future.set_result(self.result)
            else:
                if isinstance(error, StopIteration):  # a future refuses it
                    wrapped = RuntimeError("StopIteration was raised in a thread")
                    wrapped.__cause__ = error
                    error = wrapped
                future.set_exception(error)
        self.error = self.result = None  # an exception and its traceback would keep each other alive

    def withdraw(self) -> bool:
        """Take the job back; False if it has begun."""
        return self.lease.withdraw(self)

    async def ended(self) -> None:
        """Wait for the end of a job whose first waiter was cancelled; the outcome is thrown away."""
        if self.delivered:
            return
        self.future = self.mailbox.loop.create_future()
        try:
            await self.future
        except asyncio.CancelledError:
            raise
        except BaseException:
            logger.debug("A job failed after its request was cancelled", exc_info=True)


class Mailbox:
    """Outcomes on their way to one event loop: however many there are, they wake it once."""

    __slots__ = ("flush_scheduled", "jobs", "loop", "scheduled")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.jobs: deque[Job] = deque()
        self.scheduled = False
        self.flush_scheduled = False

    def put(self, job: Job) -> None:
        self.jobs.append(job)
        if not self.scheduled:
            self.scheduled = True
            try:
                self.loop.call_soon_threadsafe(self.deliver)
            except RuntimeError:  # the loop is closed: nobody waits for this any more
                self.jobs.clear()

    def deliver(self) -> None:
        # The flag first: a job put in between is delivered twice as early, never forgotten.
        self.scheduled = False
        jobs = self.jobs
        while jobs:
            jobs.popleft().deliver()


class Lease:
    """A claim on one thread. Used from one event loop."""

    __slots__ = ("abandoned", "duty", "held", "jobs", "label", "pool", "queued_at", "state", "waited", "worker")

    def __init__(self, pool: "_Pool", label: object, held: bool) -> None:
        self.pool = pool
        self.label = label  # str() of it names the request in the log
        self.held = held
        self.jobs: deque[Job] = deque()
        self.state = IDLE
        self.worker: Worker | None = None
        self.duty: Callable[[], Any] | None = None  # what the thread does when it leaves
        self.queued_at = 0.0
        self.waited = 0.0  # seconds in the queue, until now
        self.abandoned = False

    def submit(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> Job:
        return self.pool.submit(self, call, loop)

    def withdraw(self, job: Job) -> bool:
        return self.pool.withdraw(self, job)

    def let_go(self) -> None:
        """For the thread itself: it leaves the lease after the job it is in."""
        self.held = False

    def end(self, duty: Callable[[], Any] | None = None) -> None:
        """Give the thread back; it runs ``duty`` before it serves anybody else. Without a thread there's no duty."""
        self.pool.end(self, duty)

    @property
    def has_thread(self) -> bool:
        return self.state in (RUNNING, PARKED)

    @property
    def touched(self) -> bool:
        """Whether a thread is, or will be, in it."""
        return self.state != IDLE


class Worker:
    """One thread."""

    __slots__ = ("duty", "gate", "lease", "reported", "started_at", "thread")

    def __init__(self) -> None:
        # A lock as a binary semaphore. Whoever takes the worker off the idle stack, or out of PARKED, opens it, once.
        self.gate = threading.Lock()
        self.gate.acquire()
        self.lease: Lease | None = None
        self.duty: Callable[[], Any] | None = None
        self.started_at: float | None = None  # of the job it is in
        self.reported = False
        self.thread: threading.Thread | None = None


class _Pool:
    """What the threads know; not their ThreadPool, so that a forgotten one is collected and its threads end."""

    def __init__(
        self, size: int, name: str, queue_timeout: float | None, idle: float, hung: float, farewell: Callable[[], Any]
    ) -> None:
        self.size = size
        self.name = name
        self.queue_timeout = queue_timeout
        self.idle_seconds = idle
        self.hung_seconds = hung
        self.farewell = farewell
        self.mailboxes: dict[asyncio.AbstractEventLoop, Mailbox] = {}
        self.number = 0
        self.closed = False
        self.start_over()

    def start_over(self) -> None:
        """At the beginning, and in a forked child, where none of the threads exist."""
        self.lock = threading.Lock()
        self.queue: deque[Lease] = deque()
        self.idle: list[Worker] = []  # the last one in is the first one out
        self.workers: set[Worker] = set()
        self.idents: set[int] = set()
        self.waking: Worker | None = None  # at most one at a time: it wakes the next when it runs, not before
        self.on_thread_end: list[Callable[[], Any]] = []
        self.mailboxes.clear()

    # From the event loop

    def mailbox(self, loop: asyncio.AbstractEventLoop) -> Mailbox:
        mailbox = self.mailboxes.get(loop)
        if mailbox is None:
            with self.lock:
                for other in [other for other in self.mailboxes if other.is_closed()]:
                    del self.mailboxes[other]
                mailbox = self.mailboxes[loop] = Mailbox(loop)
        return mailbox

    def submit(self, lease: Lease, call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> Job:
        job = Job(call, self.mailbox(loop), lease)
        worker = None
        with self.lock:
            if lease.state == IDLE:
                if self.closed:
                    raise PoolClosed
                lease.jobs.append(job)
                lease.state = QUEUED
                lease.queued_at = time.monotonic()
                self.queue.append(lease)
                worker = self.call_worker()
            else:
                lease.jobs.append(job)
                if lease.state == PARKED:
                    lease.state = RUNNING
                    worker = lease.worker
        if worker is not None:
            self.wake(worker)
        return job

    def withdraw(self, lease: Lease, job: Job) -> bool:
        with self.lock:
            try:
                lease.jobs.remove(job)
            except ValueError:
                return False
            if lease.state == QUEUED and not lease.jobs:
                self.queue.remove(lease)
                lease.state = IDLE
            return True

    def end(self, lease: Lease, duty: Callable[[], Any] | None) -> None:
        with self.lock:
            if not lease.held:  # its thread has left, or is about to
                return
            lease.held = False
            lease.duty = duty
            worker = lease.worker
            if lease.state != PARKED or worker is None:
                return
            self.leave(worker, lease)
            if self.closed:
                called: Worker | None = worker
            else:
                self.idle.append(worker)
                called = self.call_worker()
        if called is not None:
            self.wake(called)
        elif duty is not None:
            self.schedule_flush()

    @staticmethod
    def leave(worker: Worker, lease: Lease) -> None:
        worker.duty = lease.duty
        lease.state, lease.worker, lease.duty, worker.lease = IDLE, None, None, None

    def schedule_flush(self) -> None:
        mailbox = self.mailbox(asyncio.get_running_loop())  # end() is the event loop's, as submit() is
        if not mailbox.flush_scheduled:
            mailbox.flush_scheduled = True
            mailbox.loop.call_later(FLUSH_SECONDS, self.flush, mailbox)

    def flush(self, mailbox: Mailbox) -> None:
        """Wake the idle threads that still owe a duty; most were woken by a new request in the meantime."""
        mailbox.flush_scheduled = False
        with self.lock:
            owing = [worker for worker in self.idle if worker.duty is not None]
            if owing:
                self.idle = [worker for worker in self.idle if worker.duty is None]
        for worker in owing:
            worker.gate.release()

    def call_worker(self) -> Worker | None:
        """The worker to wake for the head of the queue, if any. The caller holds the lock, and wakes it without."""
        if self.waking is not None or not self.queue:
            return None
        if self.idle:
            worker = self.idle.pop()
        elif len(self.workers) < self.size:
            worker = Worker()
            self.workers.add(worker)
        else:
            return None
        self.waking = worker
        return worker

    def wake(self, worker: Worker) -> None:
        if worker.thread is not None:
            worker.gate.release()
            return
        self.number += 1
        worker.thread = threading.Thread(
            target=_work, args=(self, worker), name=f"{self.name}-{self.number}", daemon=True
        )
        try:
            worker.thread.start()
        except RuntimeError:  # the system has no more threads: those we have must do
            with self.lock:
                self.workers.discard(worker)
                if self.waking is worker:
                    self.waking = None
                if self.workers:
                    return
            raise

    def expire(self, now: float) -> None:
        """Fail those that waited too long; the queue is in order of arrival."""
        if self.queue_timeout is None or not self.queue:
            return
        late = []
        with self.lock:
            while self.queue and now - self.queue[0].queued_at > self.queue_timeout:
                lease = self.queue.popleft()
                lease.state = IDLE
                lease.waited += now - lease.queued_at
                late += self.take_jobs(lease)
        self.fail(late, lambda: QueueTimeout(self.queue_timeout or 0.0))

    @staticmethod
    def take_jobs(lease: Lease) -> list[Job]:
        jobs = list(lease.jobs)
        lease.jobs.clear()
        return jobs

    @staticmethod
    def fail(jobs: list[Job], error: Callable[[], BaseException]) -> None:
        for job in jobs:
            job.error = error()
            job.mailbox.put(job)

    def report_hung(self, now: float) -> int:
        """Name in the log, once, each job that runs for too long; their number."""
        hung = 0
        for worker in tuple(self.workers):
            started_at, lease = worker.started_at, worker.lease
            if started_at is None or lease is None or now - started_at < self.hung_seconds:
                continue
            hung += 1
            if not worker.reported:
                worker.reported = True
                logger.warning(
                    "%s has been in one call for %d seconds: %s%s. Nothing can end it; %d of %d threads are left.",
                    worker.thread and worker.thread.name,
                    now - started_at,
                    lease.label,
                    " (its client has left)" if lease.abandoned else "",
                    self.size - hung,
                    self.size,
                )
        return hung

    # From the threads

    def next_job(self, worker: Worker) -> Job | None:
        """The thread's next job, waited for; None at the end of the thread."""
        while True:
            if worker.duty is not None and worker.lease is None:
                _quietly(worker.duty)
                worker.duty = None
            called = None
            with self.lock:
                worker.started_at = None
                if self.waking is worker:
                    self.waking = None
                job = self.choose(worker)
                if job is None:
                    if worker.duty is not None and worker.lease is None:
                        continue
                    if worker.lease is None:
                        if self.closed:
                            return None
                        self.idle.append(worker)
                if job is not None or self.queue:
                    called = self.call_worker()
            if called is not None:
                self.wake_from_thread(called)
            if job is not None:
                return job
            if not self.wait(worker):
                return None

    def choose(self, worker: Worker) -> Job | None:
        """The lock is held. Leaves worker.lease at None if the thread is free."""
        lease = worker.lease
        if lease is not None and not lease.jobs:
            if lease.held:
                lease.state = PARKED
                return None
            self.leave(worker, lease)
            lease = None
        now = time.monotonic()
        if lease is None:
            if worker.duty is not None or not self.queue:
                return None
            lease = self.queue.popleft()
            lease.state, lease.worker, worker.lease = RUNNING, worker, lease
            lease.waited += now - lease.queued_at
        worker.started_at = now
        worker.reported = False
        return lease.jobs.popleft()

    def wake_from_thread(self, worker: Worker) -> None:
        try:
            self.wake(worker)
        except RuntimeError:
            logger.warning("No further thread could be started", exc_info=True)

    def wait(self, worker: Worker) -> bool:
        """Until somebody opens the gate; False if the thread was idle for too long and ends."""
        if worker.gate.acquire(timeout=self.idle_seconds):
            return True
        with self.lock:
            reaped = worker in self.idle
            if reaped:
                self.idle.remove(worker)
        if not reaped:  # it is kept by a lease, or somebody is about to open the gate
            worker.gate.acquire()
            return True
        if worker.duty is not None:
            _quietly(worker.duty)
        return False

    def thread_ended(self, worker: Worker) -> None:
        with self.lock:
            self.workers.discard(worker)
            self.idents.discard(threading.get_ident())
            called = self.call_worker()  # a request may have come when this thread still counted
        if called is not None:
            self.wake_from_thread(called)
        for callback in tuple(self.on_thread_end):
            callback()

    # The end

    def close(self) -> None:
        """Take no new work, fail what is queued, and let each thread end when its lease does."""
        with self.lock:
            self.closed = True
            jobs = [job for lease in self.queue for job in self.take_jobs(lease)]
            for lease in self.queue:
                lease.state = IDLE
            self.queue.clear()
            idle, self.idle = self.idle, []
        self.fail(jobs, PoolClosed)
        for worker in idle:
            worker.gate.release()

    def threads(self) -> list[threading.Thread]:
        with self.lock:
            return [worker.thread for worker in self.workers if worker.thread is not None]

    def log_left_behind(self) -> None:
        for worker in tuple(self.workers):
            lease = worker.lease
            if lease is not None:
                logger.warning(
                    "Left behind at shutdown: %s is still in %s", worker.thread and worker.thread.name, lease.label
                )


def _quietly(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception:
        logger.exception("A thread failed at its end-of-request work")


def _work(pool: _Pool, worker: Worker) -> None:
    pool.idents.add(threading.get_ident())
    try:
        while (job := pool.next_job(worker)) is not None:
            job.run()
            job.mailbox.put(job)
            del job  # an idle thread must not keep the last request alive
    finally:
        _quietly(pool.farewell)
        pool.thread_ended(worker)


_pools: "weakref.WeakSet[_Pool]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool.start_over()


os.register_at_fork(after_in_child=_after_fork_in_child)


class ThreadPool:
    """
    At most ``threads`` threads, started when they are needed.

    ``queue_timeout_seconds``: longer waits for a thread end with QueueTimeout (checked in tick()).
    ``idle_seconds``: a thread that nobody needed for so long ends.
    ``hung_seconds``: a job that runs for longer is counted, and named in the log (in tick()).
    ``farewell``: runs in each thread before it ends, for instance to close its database connections.
    """

    def __init__(
        self,
        threads: int,
        *,
        queue_timeout_seconds: float | None = None,
        idle_seconds: float = 60.0,
        hung_seconds: float = 60.0,
        farewell: Callable[[], Any] = lambda: None,
        name: str = "django",
    ) -> None:
        if threads < 1:
            raise ValueError(f"A pool needs at least one thread, not {threads!r}.")
        self._pool = _Pool(threads, name, queue_timeout_seconds, idle_seconds, hung_seconds, farewell)
        _pools.add(self._pool)
        self._finalizer = weakref.finalize(self, self._pool.close)
        self._finalizer.atexit = False  # at exit the threads are daemons; nobody is left to talk to

    @property
    def size(self) -> int:
        return self._pool.size

    @property
    def closed(self) -> bool:
        return self._pool.closed

    def lease(self, label: object) -> Lease:
        """A claim on a thread for a request; nothing happens until its first job. Needs an end()."""
        return Lease(self._pool, label, held=True)

    def submit(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop, label: object = "a call") -> Job:
        """One job in any thread."""
        return self._pool.submit(Lease(self._pool, label, held=False), call, loop)

    def is_own_thread(self) -> bool:
        """Whether the caller runs in one of the pool's threads; waiting there for another one could wait for ever."""
        return threading.get_ident() in self._pool.idents

    def tick(self) -> None:
        """To be called now and then by somebody with a clock."""
        now = time.monotonic()
        self._pool.expire(now)
        self._pool.report_hung(now)

    def stats(self) -> PoolStats:
        pool, now = self._pool, time.monotonic()
        with pool.lock:
            leases = [(worker, worker.lease) for worker in pool.workers]
            return PoolStats(
                threads=len(leases),
                busy=sum(lease is not None for _, lease in leases),
                waiting=len(pool.queue),
                hung=sum(
                    worker.started_at is not None and now - worker.started_at >= pool.hung_seconds
                    for worker, _ in leases
                ),
                abandoned=sum(lease is not None and lease.abandoned for _, lease in leases),
            )

    def close(self, timeout_seconds: float = 5.0) -> bool:
        """
        End the threads, and wait for them; True if all have ended. A job that hangs is logged and left behind.

        Not from a running event loop: jobs may need it to finish. There, await aclose().
        """
        self._pool.close()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._pool.threads():
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return self._closed()

    async def aclose(self, timeout_seconds: float = 5.0) -> bool:
        """close() for an event loop, which goes on serving the jobs meanwhile."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def thread_ended() -> None:
            try:
                loop.call_soon_threadsafe(changed.set)
            except RuntimeError:  # the loop stopped waiting, and is closed
                logger.debug("A thread ended after the event loop")

        self._pool.on_thread_end.append(thread_ended)
        self._pool.close()
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._pool.threads():
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            pass
        finally:
            self._pool.on_thread_end.remove(thread_ended)
        return self._closed()

    def _closed(self) -> bool:
        self._pool.log_left_behind()
        return not self._pool.threads()
