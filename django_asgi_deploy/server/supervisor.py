"""Starts, watches, replaces and stops workers. One loop over signals, messages and deadlines, with one rule inside.

The rule is ``_reconcile``: so many ready workers of the current version as are wanted. A worker of an old version, and
one that has served enough, are both *outdated*: one replacement at a time is started, and when it is ready, one
outdated worker is asked to leave. Rolling restart, recycling, a crash and a changed number of workers are all that.

This process has no event loop and no thread, and never imports Django or the project: nothing in it can hang or break.
It is over 400 lines because each event of a child's life can concern every other child: they are only right together.
"""

import json
import os
import select
import signal
from typing import Any, NoReturn

from django_asgi_deploy.exceptions import ExitStatus
from django_asgi_deploy.server import multiprocess, processes, systemd
from django_asgi_deploy.server.backoff import Backoff
from django_asgi_deploy.server.balance import Balance
from django_asgi_deploy.server.channel import VARIABLE, Channel, Message
from django_asgi_deploy.server.children import ENDS_TOLERATED, Child, Generation, Worker, in_words
from django_asgi_deploy.server.clock import Clock
from django_asgi_deploy.server.handover import Handover
from django_asgi_deploy.server.lines import Lines
from django_asgi_deploy.server.orphans import OrphanWatch
from django_asgi_deploy.server.plan import Plan
from django_asgi_deploy.server.signals import Signals
from django_asgi_deploy.server.title import set_title

LONGEST_SLEEP_SECONDS = 0.5  # the shorter, the better a pause of this process itself is told from a sleep
PAUSE_WORTH_A_LINE_SECONDS = 2.0
MARGIN_SECONDS = 2.0  # a worker ends itself at its deadline; after this much more it is killed
START_UP_GRACE_SECONDS = 0.7
STACKS_SECONDS = 0.5  # for writing them
ASKED_TO_STOP = "it was asked to stop"
LEAST_SEATS = 64
SEATS_PER_WORKER = 4  # those that are leaving need theirs, too
STEADY_SECONDS = 5.0  # a worker that has served for so long didn't end soon after its start


class Supervisor:
    """Runs until it is asked to stop, or nothing can be served any more; ``run`` returns the exit status."""

    def __init__(self, handover: Handover, lines: Lines, signals: Signals) -> None:
        self.handover = handover
        self.lines = lines
        self.signals = signals
        self.clock = Clock()
        self.orphan_watch = OrphanWatch(lines, handover.process_name)
        self.balance = Balance(max(LEAST_SEATS, SEATS_PER_WORKER * handover.plan.workers))
        self.watchdog_seconds = systemd.watchdog_seconds()
        self.next_watchdog = 0.0
        self.plan: Plan = handover.plan
        self.wanted = handover.plan.workers
        self.current: Generation | None = None  # the one that serves
        self.coming: Generation | None = None  # the one being tried
        self.generations: list[Generation] = []
        self.workers: list[Worker] = []
        self.number = 0
        self.status = ExitStatus.STOPPED
        self.stopping = False
        self.is_closing = False  # all that are left were asked to close the sockets
        self.reload_again = False
        self.has_served = False
        self.load_backoff = Backoff(tolerated=1)  # when there is nothing to fork workers from
        self.oom_kills = processes.OOMKills()

    def run(self) -> ExitStatus:
        self._begin()
        while not self.stopping or self.workers or self.generations:
            self.orphan_watch.keep(child.pid for child in [*self.generations, *self.workers])
            self._wait()
            for sig in self.signals.taken():
                self._on_signal(sig)
            ended = list(processes.reap())  # before reading: what the ended have said is then there to be read
            for child in [*self.generations, *self.workers]:
                self._hear(child)
            for pid, wait_status in ended:
                self._on_end(pid, wait_status)
            self._watch()
            if self.stopping:
                self._close_if_all_serve()
            else:
                self._reconcile()
        self.orphan_watch.dismiss()
        return self.status

    # ------------------------------------------------------------------ waiting and hearing

    def _wait(self) -> None:
        waiting: list[Any] = [
            self.signals,
            *(child.channel for child in [*self.generations, *self.workers] if not child.is_deaf),
        ]
        seconds = max(0.0, min(LONGEST_SLEEP_SECONDS, self._next_deadline() - self.clock.now))
        select.select(waiting, [], [], seconds)
        if late := self.clock.turn(seconds):
            self._on_pause(late)

    def _on_pause(self, seconds: float) -> None:
        """This process was stopped, and others perhaps too. Its clock stood still; those who beat get time to do so."""
        if seconds >= PAUSE_WORTH_A_LINE_SECONDS:
            self.lines.warning(f"The supervisor itself stood still for {in_words(seconds)}; no deadline counts that.")
        for worker in self.workers:
            worker.last_beat = self.clock.now
        self.next_watchdog = self.clock.now  # systemd's clock hasn't stood still

    def _hear(self, child: Child) -> None:
        if child.is_deaf:
            return
        try:
            for message, _ in child.channel.receive():
                if isinstance(child, Generation):
                    self._on_loaded(child, message)
                elif isinstance(child, Worker):
                    self._on_message(child, message)
        except EOFError:
            child.channel.close()
            if isinstance(child, Worker) and not child.pid:  # it came to nothing before it had a pid
                self._forget(child, child.leaving or "it came to nothing")

    def _on_message(self, worker: Worker, message: Message) -> None:
        if "plan" in message:  # an interpreter of its own, loaded now
            self._have_serve(worker.channel)
        if not worker.pid and "pid" in message:
            self._on_pid(worker, message["pid"])
        worker.last_beat = self.clock.now
        worker.debugger = message.get("debugger")
        if "ready" in message:
            answer = self._on_late if worker.leaving else self._on_ready
            answer(worker)
        if "asks_to_leave" in message and not self.stopping:
            self._outdate(worker, "it was sent SIGTERM")
        if "beat" in message:
            self._forgive(worker)
            if worker.stacks_shown and not worker.leaving:
                self.lines.info(f"{worker.name} answers again.")
            worker.stacks_shown = False
            worker.requests = message["beat"]
            worker.connections = message["connections"]
            worker.resident_bytes = processes.resident_bytes(worker.pid) or worker.resident_bytes
            self._judge(worker)

    def _on_pid(self, worker: Worker, pid: int) -> None:
        worker.pid = pid
        if worker.leaving:  # it couldn't be told then
            worker.send_signal(signal.SIGKILL if worker.is_killed else signal.SIGTERM)

    def _on_late(self, worker: Worker) -> None:
        """It was asked to leave while it was starting, and serves by now: what it has accepted is answered."""
        worker.ready_at = self.clock.now
        if not worker.is_killed:
            worker.kill_at = worker.ready_at + self.plan.budget_seconds + MARGIN_SECONDS
            worker.channel.send(leave=True)

    def _judge(self, worker: Worker) -> None:
        """Whether it has served enough."""
        plan = self.plan
        reason = ""
        if worker.max_requests and worker.requests >= worker.max_requests:
            reason = f"it has answered {worker.requests} requests"
        elif plan.max_lifetime_seconds and worker.age_seconds >= plan.max_lifetime_seconds:
            reason = f"it is {in_words(worker.age_seconds)} old"
        elif plan.max_rss_bytes and worker.resident_bytes >= plan.max_rss_bytes:
            reason = f"it holds {worker.resident_bytes / 2**20:.0f} MiB"
        if reason:
            self._outdate(worker, reason)

    def _outdate(self, worker: Worker, why: str) -> None:
        if worker.is_ready and not worker.outdated:
            worker.outdated = why
            self.lines.info(f"{worker.name} will be replaced: {why}.")

    # ------------------------------------------------------------------ generations

    def _begin(self) -> None:
        adopted = self.handover.generation
        if adopted is None:
            self._load_generation()
        else:
            pid, fd = adopted
            self.number = 1
            self.coming = Generation(self.clock, Channel.adopt(fd), pid)
            self.generations.append(self.coming)

    def _load_generation(self) -> None:
        self.number += 1
        try:
            channel, pid = self._spawn(announces=self.current is None)
        except OSError as error:
            why = f"can't be started: {self.handover.command[0]}: {error.strerror}"
            if self.current:
                self._on_vain_load(self.number, why)
            else:
                self._end(ExitStatus.TEMPORARY, f"The project {why}.")
            return
        self.coming = Generation(self.clock, channel, pid, number=self.number)
        self.generations.append(self.coming)
        if self.number > 1:
            self.lines.info(f"Version {self.number} is being loaded.")
        if self.current:
            systemd.notify(RELOADING=1, STATUS=f"Version {self.number} is being loaded.")

    def _spawn(self, *, announces: bool) -> tuple[Channel, int]:
        """A fresh interpreter with the command line that the user typed.

        Raises OSError if there is none: a deployment may be about to replace it, or there are too many processes.
        """
        ours, theirs = Channel.pair()
        os.set_inheritable(theirs.fileno(), True)
        told = {"fd": theirs.fileno(), "generation": self.number, "announces": announces}
        environment = {**self.handover.environment, VARIABLE.encode(): json.dumps(told).encode()}
        try:
            os.chdir(self.handover.directory)  # a symbolic link may lead elsewhere by now
        except OSError as error:
            self.lines.error(f"{self.handover.directory}: {error.strerror}; staying in {os.getcwd()}.")
        try:
            pid = os.posix_spawn(
                self.handover.command[0],
                self.handover.command,
                environment,
                setsigmask=[],
                setsigdef=[sig for sig in signal.valid_signals() if sig not in (signal.SIGKILL, signal.SIGSTOP)],
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours, pid

    def _on_loaded(self, generation: Generation, message: Message) -> None:
        generation.plan = Plan.received(message["plan"])
        generation.forks = message["forks"]
        if not generation.forks:
            self.lines.info(f"Each worker gets an interpreter of its own: {message['why_not']}.")
        if generation.number > 1:
            self.lines.info(f"Version {generation.number} is loaded, after {in_words(generation.age_seconds)}.")
            if generation.plan.bind != self.plan.bind:
                self.lines.warning("BIND has changed; that takes effect when runasgi is started anew.")

    def _give_up(self, generation: Generation, why: str) -> None:
        """A version that can't be had: what serves goes on serving."""
        self._let_go(generation, "its version is given up")
        self._on_vain_load(generation.number, why)

    def _let_go(self, generation: Generation, why: str) -> None:
        """Try the coming version no longer."""
        self.coming = None
        self._dismiss(generation)
        for worker in self.workers:
            if worker.generation is generation and not worker.leaving:
                self._kill(worker, why)

    def _on_vain_load(self, number: int, why: str) -> None:
        assert self.current is not None
        serving = f"version {self.current.number}"
        if not self._is_gone(self.current):
            self.lines.error(f"Version {number} {why}; {serving} goes on serving. Mend it, and send SIGHUP again.")
        else:
            self.load_backoff.count(self.clock.now)
            if self.load_backoff.ends >= ENDS_TOLERATED and not self._somebody_serves:
                self._end(ExitStatus.TEMPORARY, f"Version {number} {why}, and nobody serves any more.")
                return
            seconds = self.load_backoff.pause_seconds(somebody_serves=self._somebody_serves)
            self.lines.error(
                f"Version {number} {why}; the workers of {serving} go on, but none can be started until a version "
                f"is loaded. The next try is in {seconds:g} s."
            )
        systemd.notify(READY=1, STATUS=f"Version {number} failed; {serving} serves.")

    def _begin_anew_or_end(self, status: ExitStatus, why: str) -> None:
        """The first version can't be had. Whoever has sent SIGHUP meanwhile has mended it, perhaps."""
        if not self.reload_again:
            self._end(status, why)
            return
        self.reload_again = False
        if why:
            self.lines.error(why)
        assert self.coming is not None
        self._let_go(self.coming, "its version is given up")
        self._load_generation()

    def _promote(self, generation: Generation) -> None:
        before, self.current, self.coming = self.current, generation, None
        assert generation.plan is not None
        self.load_backoff = Backoff(tolerated=1)
        if before:
            self._dismiss(before)
            systemd.notify(READY=1, STATUS=f"Version {generation.number} serves.")
        if generation.plan.workers != self.plan.workers:  # otherwise what signals have made of the number counts
            self.wanted = generation.plan.workers
            rule = generation.plan.workers_rule
            self.lines.info(f"WORKERS is {self.wanted} now" + (f": {rule}." if rule else "."))
        self.plan = generation.plan
        for worker in self.workers:
            if worker.generation is not generation:
                worker.outdated = worker.outdated or f"version {generation.number} takes its place"

    def _dismiss(self, generation: Generation) -> None:
        """Let the process go that has loaded it; its workers stay until they are replaced."""
        generation.is_dismissed = True
        if generation.became_worker or generation not in self.generations:
            return
        if generation.plan:
            generation.channel.close()  # it waits for a message, and leaves when none can come
            generation.kill_at = self.clock.now + START_UP_GRACE_SECONDS
        else:
            self._kill_generation(generation)

    def _kill_generation(self, generation: Generation) -> None:
        generation.is_dismissed = generation.is_killed = True
        generation.kill_at = None
        generation.send_signal(signal.SIGKILL)

    # ------------------------------------------------------------------ the rule

    def _reconcile(self) -> None:
        if self.current and not self.coming and self._is_gone(self.current) and self._is_over(self.load_backoff):
            self._load_generation()
        generation = self.coming or self.current
        if generation is None:
            return
        if self.coming and self.current:
            self._keep_up(self.current)
        mine = [worker for worker in self.workers if worker.generation is generation]
        starting = [worker for worker in mine if worker.is_starting]
        fresh = [worker for worker in mine if worker.is_ready and not worker.outdated]
        outdated = [worker for worker in self.workers if worker.is_ready and worker.outdated]
        if self._may_start(generation):
            missing = self._wanted_of(generation) - len(starting) - len(fresh)
            slowly = bool(outdated or (self.coming and self.current))
            self._start_workers(generation, missing, len(starting), slowly=slowly)
        if self.coming:
            return
        surplus = len(fresh) + len(outdated) - self.wanted
        for worker in [*outdated, *fresh][: max(0, surplus)]:
            self._retire(worker)
        if self.reload_again:
            self.reload_again = False
            self._load_generation()

    def _keep_up(self, generation: Generation) -> None:
        """Have so many workers as are wanted while another version is on trial, which may take long."""
        if not self._may_start(generation):
            return
        starting = [worker for worker in self.workers if worker.is_starting and worker.generation is generation]
        ready = [worker for worker in self.workers if worker.is_ready]
        self._start_workers(generation, self.wanted - len(starting) - len(ready), len(starting), slowly=False)

    def _may_start(self, generation: Generation) -> bool:
        """Whether a worker of it can be started, and needn't wait."""
        if generation.plan is None or self._is_ending(generation) or self._is_gone(generation):
            return False
        if self.current is None and generation.vain_starts:
            return False  # the others will show whether the first version is any good
        return self._is_over(generation.backoff)

    def _is_over(self, pause: Backoff) -> bool:
        return self.clock.now >= pause.ends_at(somebody_serves=self._somebody_serves)

    @property
    def _somebody_serves(self) -> bool:
        return any(worker.is_ready for worker in self.workers)

    def _is_ending(self, generation: Generation) -> bool:
        """Whether its process can't be asked any more, and its end is about to be seen."""
        return generation in self.generations and (generation.is_killed or generation.channel.fileno() < 0)

    def _is_gone(self, generation: Generation) -> bool:
        """Whether there is no process any more that its workers could be forked from.

        To load the code anew for each of them wouldn't do: it may be another one by now, which nobody has tried.
        """
        return generation.forks and generation not in self.generations

    def _wanted_of(self, generation: Generation) -> int:
        """One worker shows whether a new version is any good."""
        if generation is self.coming and self.current:
            return 1
        return self.wanted

    def _start_workers(self, generation: Generation, missing: int, starting: int, *, slowly: bool) -> None:
        """With nobody to replace there is no reason to go slowly, unless they keep ending."""
        at_once = max(0, 1 - starting) if slowly or generation.backoff.is_on else missing
        for _ in range(min(missing, at_once)):
            self._start_worker(generation)

    def _start_worker(self, generation: Generation) -> None:
        generation.newest = worker = self._worker_of(generation)
        worker.max_requests = (generation.plan or self.plan).draw_max_requests()
        self.workers.append(worker)

    def _worker_of(self, generation: Generation) -> Worker:
        if generation.forks:
            ours, theirs = Channel.pair()
            descriptors = [theirs.fileno(), *self._descriptors()]
            generation.channel.send(do="fork", borrowed=self.handover.borrowed, descriptors=descriptors)
            theirs.close()
            return Worker(self.clock, ours, generation=generation)
        if generation in self.generations and not generation.became_worker:
            generation.became_worker = True
            self._have_serve(generation.channel)
            return Worker(self.clock, generation.channel, generation.pid, generation=generation)
        try:
            channel, pid = self._spawn(announces=False)
        except OSError as error:
            self.lines.error(f"A worker can't be started: {self.handover.command[0]}: {error.strerror}.")
            channel, theirs = Channel.pair()
            theirs.close()  # its end is seen as any other's
            pid = 0
        return Worker(self.clock, channel, pid, generation=generation)

    def _have_serve(self, channel: Channel) -> None:
        channel.send(do="serve", borrowed=self.handover.borrowed, descriptors=self._descriptors())

    def _descriptors(self) -> list[int]:
        return [self.balance.fd, *self.handover.sockets]

    def _on_ready(self, worker: Worker) -> None:
        worker.ready_at = self.clock.now
        generation = worker.generation
        generation.vain_starts = 0
        self.lines.info(
            f"{worker.name} serves, {in_words(worker.age_seconds)} after its start"
            + (f" (version {generation.number})." if generation.number > 1 else ".")
        )
        if generation is self.coming:
            self._promote(generation)
        if not self.has_served:
            self.has_served = True
            systemd.notify(READY=1, STATUS=f"Version {generation.number} serves.")
            self.lines.say("\n".join(f"Serving {url}" for url in self.handover.urls))
            if generation.forks:
                generation.channel.send(do="advise")

    # ------------------------------------------------------------------ ends

    def _on_end(self, pid: int, wait_status: int) -> None:
        multiprocess.mark_dead(pid)  # whoever it was: the project may have gauges in a generation, too
        for worker in self.workers:
            if worker.pid == pid:
                if worker.generation.pid == pid and worker.generation in self.generations:
                    self.generations.remove(worker.generation)
                code = os.waitstatus_to_exitcode(wait_status)
                if code == 0:  # it had asked to leave, and waited in vain for a successor
                    worker.leaving = worker.leaving or worker.outdated
                self._forget(worker, self._cause(worker, code))
                return
        for generation in self.generations:
            if generation.pid == pid:
                self._on_generation_end(generation, os.waitstatus_to_exitcode(wait_status))
                return
        # Anything else is an orphan of the project, which nobody else would reap.

    def _cause(self, worker: Worker, code: int) -> str:
        if code >= 0:
            return worker.leaving or (f"ended by itself with status {code}" if code == 0 else f"failed, status {code}")
        name = processes.signal_name(-code)
        if worker.is_killed:
            return worker.leaving
        if code != -signal.SIGKILL:
            return f"was ended by {name}"
        counter = self.oom_kills.explain(self.clock.now)
        cause = f"was ended by {name}, which nobody here sent: probably out of memory"
        return f"{cause}; {counter}" if counter else cause

    def _forget(self, worker: Worker, cause: str) -> None:
        self.workers.remove(worker)
        worker.channel.close()
        level = self.lines.info if worker.leaving and not worker.is_killed else self.lines.error
        level(f"{worker.name} has left: {cause} ({worker.in_numbers()}).")
        if self.stopping or (worker.leaving and not worker.has_failed):
            return
        generation = worker.generation
        if generation is self.coming:
            self._on_failed_version(generation)
        elif generation is self.current:
            self._on_early_end(worker, generation)

    def _on_failed_version(self, generation: Generation) -> None:
        """A worker of a version that nobody has served yet: the version is no good."""
        if self.current:
            self._give_up(generation, "can't serve")
            return
        generation.vain_starts += 1
        if not any(worker.generation is generation for worker in self.workers):
            self._begin_anew_or_end(ExitStatus.TEMPORARY, "No worker could start.")

    def _on_early_end(self, worker: Worker, generation: Generation) -> None:
        """Start anew at once, but not for ever if workers keep ending soon after their start."""
        backoff = generation.backoff
        if worker.ready_at is None:
            generation.vain_starts += 1
        elif worker.has_served(STEADY_SECONDS) or worker.started_at < backoff.last_end_at:  # all at once are no row
            if not self._somebody_serves and backoff.ends_at(somebody_serves=True) > self.clock.now:
                self.lines.error("No worker serves any more; the next one starts without the rest of the pause.")
            return
        backoff.count(self.clock.now)
        if not backoff.is_on:
            return
        someone = any(each.is_ready or each.is_starting for each in self.workers)
        if generation.vain_starts >= ENDS_TOLERATED and not someone and not self.coming:
            self._end(ExitStatus.TEMPORARY, f"{generation.vain_starts} workers in a row didn't start; none is left.")
            return
        seconds = backoff.pause_seconds(somebody_serves=self._somebody_serves)
        self.lines.error(
            f"{backoff.ends} workers in a row ended soon after their start; the next starts in {seconds:g} s."
        )

    def _forgive(self, worker: Worker) -> None:
        """Ends don't count any more when the last worker that was started has served for a while."""
        generation = worker.generation
        if generation.backoff.ends and worker is generation.newest and worker.has_served(STEADY_SECONDS):
            generation.backoff = Backoff(ENDS_TOLERATED)

    def _on_generation_end(self, generation: Generation, code: int) -> None:
        generation.channel.close()
        self.generations.remove(generation)
        if self.stopping or generation.is_dismissed:
            return
        if generation is self.coming:
            why = (
                f"doesn't load (status {code})"
                if code >= 0
                else f"was ended by {processes.signal_name(-code)} as it loaded"
            )
            if generation.plan:
                why = "is gone before it served"
            if self.current:
                self._give_up(generation, why)
            else:
                known = code in (ExitStatus.TEMPORARY, ExitStatus.USAGE, ExitStatus.PROJECT)
                status = ExitStatus(code) if known else ExitStatus.TEMPORARY
                self._begin_anew_or_end(status, "" if known else f"The project {why}.")
        elif generation is self.current:
            how = processes.status_in_words(code)
            self.lines.error(f"The process that workers are forked from has left ({how}); a new one is loaded.")

    # ------------------------------------------------------------------ deadlines

    def _next_deadline(self) -> float:
        deadlines = [child.kill_at for child in [*self.generations, *self.workers] if child.kill_at is not None]
        pauses = [self.load_backoff, *(each.backoff for each in (self.coming, self.current) if each)]
        ends = [pause.ends_at(somebody_serves=self._somebody_serves) for pause in pauses]
        deadlines += [end for end in ends if end > self.clock.now]
        if self.watchdog_seconds:
            deadlines.append(self.next_watchdog)
        return min(deadlines, default=float("inf"))

    def _watch(self) -> None:
        now = self.clock.now
        if self.watchdog_seconds and now >= self.next_watchdog:
            systemd.notify(WATCHDOG=1)
            self.next_watchdog = now + self.watchdog_seconds / 2
        limit = self.plan.boot_timeout_seconds
        if (coming := self.coming) and coming.plan is None and self._is_late(coming, limit):
            why = f"isn't loaded after {limit} s (BOOT_TIMEOUT_SECONDS)"
            if self.current:
                self._give_up(coming, why)
            else:
                self._begin_anew_or_end(ExitStatus.TEMPORARY, f"The project {why}.")
        for generation in self.generations:
            if generation.kill_at is not None and now >= generation.kill_at:
                self._kill_generation(generation)
        for worker in list(self.workers):
            if worker.is_killed:
                continue
            if worker.kill_at is not None:
                if now >= worker.kill_at:
                    self._kill(worker, f"{worker.leaving}, but didn't in time")
            elif worker.is_starting:
                if self._is_late(worker, limit):
                    self._fail(worker, f"didn't serve within {limit} s (BOOT_TIMEOUT_SECONDS)")
                    if not worker.pid:  # it was never forked: what should have done it is stuck
                        worker.generation.is_killed = True
                        worker.generation.send_signal(signal.SIGKILL)
            else:
                self._watch_beat(worker, now - worker.last_beat)

    def _is_late(self, child: Child, limit: float) -> bool:
        """Whether it has taken too long to start; its stacks are shown first, and get a moment to be written."""
        seconds = self.clock.now - child.starting_since
        if seconds < limit:
            return False
        if child.is_debugged:
            child.starting_since = self.clock.now
            return False
        if not child.stacks_shown:
            child.stacks_shown = True
            self._show_stacks(child)
        return seconds >= limit + STACKS_SECONDS

    def _watch_beat(self, worker: Worker, silence: float) -> None:
        """From half the limit on it matters why. One that a debugger lets go has all of it again."""
        limit = self.plan.heartbeat_timeout_seconds
        if silence >= limit / 2 or worker.was_debugged:
            worker.was_debugged = worker.is_debugged
        if worker.was_debugged:
            worker.last_beat = self.clock.now
        elif silence >= limit / 2:
            self._on_silence(worker, silence)

    def _on_silence(self, worker: Worker, silence: float) -> None:
        is_stopped = processes.is_stopped(worker.pid)
        if not worker.stacks_shown:
            worker.stacks_shown = True
            stacks = "it is stopped, as by SIGSTOP, and can't show its stacks." if is_stopped else "its stacks:"
            self.lines.warning(
                f"The event loop of worker {worker.pid} has stood still for {in_words(silence)}; {stacks}"
            )
            self._show_stacks(worker)
        if silence >= self.plan.heartbeat_timeout_seconds:
            stopped = " (it is stopped, as by SIGSTOP)" if is_stopped else ""
            self._fail(worker, f"its event loop stood still for {in_words(silence)}{stopped}")

    def _show_stacks(self, child: Child) -> None:
        child.send_signal(signal.SIGUSR1)

    def _fail(self, worker: Worker, why: str) -> None:
        """Kill a worker that can't be asked."""
        worker.has_failed = True
        self._kill(worker, why)

    def _kill(self, worker: Worker, why: str) -> None:
        worker.leaving = why
        worker.is_killed = True
        worker.kill_at = None
        worker.send_signal(signal.SIGKILL)

    def _retire(self, worker: Worker) -> None:
        why = worker.outdated or "there are more workers than wanted"
        self._ask_to_leave(worker, why, self.plan.graceful_timeout_seconds + MARGIN_SECONDS)

    def _ask_to_leave(self, worker: Worker, why: str, seconds: float) -> None:
        worker.leaving = why
        worker.kill_at = self.clock.now + seconds
        if worker.ready_at is not None:  # others may not listen yet
            worker.channel.send(leave=True)
        worker.send_signal(signal.SIGTERM)

    # ------------------------------------------------------------------ signals

    def _on_signal(self, sig: int) -> None:
        if sig in (signal.SIGTERM, signal.SIGINT):
            if self.stopping:
                self._end_at_once()
            self._stop(f"{processes.signal_name(sig)} came")
        elif self.stopping:
            return
        elif sig == signal.SIGHUP:
            self._reload()
        elif sig in (signal.SIGTTIN, signal.SIGTTOU):
            self.wanted = max(1, self.wanted + (1 if sig == signal.SIGTTIN else -1))
            self.lines.info(f"{processes.signal_name(sig)} came: {self.wanted} worker{'s' * (self.wanted > 1)} wanted.")
        elif sig == signal.SIGUSR1:
            for worker in self.workers:
                self._show_stacks(worker)

    def _reload(self) -> None:
        """Workers that are being replaced by an earlier version needn't be waited for: it may never come to an end."""
        if self.coming and not self.current:  # it is only just being loaded, and may have read the code already
            if not self.reload_again:
                self.lines.info(
                    "SIGHUP came: the code is loaded once more when the first version serves or has failed."
                )
            self.reload_again = True
            return
        if self.coming:
            self._let_go(self.coming, "a newer version is asked for")
        self._load_generation()

    def _stop(self, why: str) -> None:
        self.stopping = True
        self.lines.info(f"{why}: stopping, within {self.plan.budget_seconds} s.")
        systemd.notify(STOPPING=1, STATUS=f"Stopping, within {self.plan.budget_seconds} s.")
        for generation in self.generations:
            self._dismiss(generation)
        for worker in self.workers:
            if worker.is_starting:
                self._ask_to_leave(worker, ASKED_TO_STOP, START_UP_GRACE_SECONDS)
        self._close_if_all_serve()

    def _close_if_all_serve(self) -> None:
        """Stop, second half: those that serve close the sockets last, so that each connection in the queue is taken.

        One that is starting has them as well, and can't take any.
        """
        if self.is_closing or any(worker.ready_at is None for worker in self.workers):
            return
        self.is_closing = True
        # First ours, so that the last worker to close a socket knows that nothing can wait in it any more.
        self.handover.close_sockets()
        for worker in self.workers:
            worker.channel.send(everybody_leaves=True)
        for worker in self.workers:
            if not worker.leaving:
                self._ask_to_leave(worker, ASKED_TO_STOP, self.plan.budget_seconds + MARGIN_SECONDS)

    def _end(self, status: ExitStatus, why: str) -> None:
        """There is nothing to serve any more."""
        self.status = status
        self.coming = None
        self.stopping = self.is_closing = True
        if why:
            self.lines.error(why)
        self.handover.close_sockets()
        for worker in self.workers:
            self._kill(worker, "nothing is served any more")
        for generation in self.generations:
            self._dismiss(generation)

    def _end_at_once(self) -> NoReturn:
        self.lines.warning("Stopped at once by a second signal.")
        for child in [*self.workers, *self.generations]:
            child.send_signal(signal.SIGKILL)
        self.handover.clean_up()
        os._exit(self.status)


def main() -> ExitStatus:
    """The supervisor's process: everything it needs was handed over by the command that became it."""
    handover = Handover.receive()
    lines = Lines(handover.colour)
    set_title(handover.process_name, "supervisor")
    with Signals() as signals:
        try:
            return Supervisor(handover, lines, signals).run()
        finally:
            handover.clean_up()
