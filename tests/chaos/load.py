"""Requests without a pause, from threads, and what became of each."""

import select
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

TIMEOUT_SECONDS = 30
PIPELINED = 3


@dataclass(frozen=True)
class Outcome:
    kind: str  # kept, new or pipelined
    sent_at: float
    ended_at: float
    result: str  # ok, a status other than 200, refused, reset, eof or timeout
    body: str
    port: int  # the client's end of the connection, 0 if there was none


class Connection:
    """HTTP/1.1 by hand, so that it is known which byte didn't come."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self.buffer = b""
        self.closes = False

    def send(self, path: str, times: int = 1) -> None:
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * times)

    def read(self) -> tuple[int, str]:
        """Status and body. Raises EOFError if the connection ends first."""
        head = self._until(b"\r\n\r\n").decode().lower()
        status = int(head.split()[1])
        self.closes = "\r\nconnection: close" in head
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return status, body.decode()

    def _until(self, end: bytes) -> bytes:
        while end not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(end)
        return head + b"\r\n"

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    @property
    def has_ended(self) -> bool:
        """Whether the server has closed it, which a client is free to find before it sends."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def close(self) -> None:
        self.socket.close()


class Load:
    """A context manager. ``each`` threads of each kind request ``path`` until it is left, or until ``stop``.

    With ``rate``, there are so many requests a second in all, as far as answers come in time.
    """

    def __init__(
        self, port: int, path: str = "/who", *, each: int = 2, pause_seconds: float = 0.005, rate: float | None = None
    ) -> None:
        self.port = port
        self.path = path
        self.pause_seconds = pause_seconds
        self.seconds_each = rate and 3 * each / rate
        self.outcomes: list[Outcome] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(kind,), daemon=True)
            for kind in ("kept", "new", "pipelined")
            for _ in range(each)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_SECONDS)

    def _run(self, kind: str) -> None:
        connection: Connection | None = None
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic()) if self.seconds_each else self.pause_seconds):
            if connection is not None and (connection.closes or connection.has_ended or kind == "new"):
                connection.close()
                connection = None
            sent_at = time.monotonic()
            times = PIPELINED if kind == "pipelined" else 1
            due = max(due + times * (self.seconds_each or 0), sent_at)
            results: list[tuple[str, str]] = []
            port = 0
            try:
                connection = connection or Connection(self.port)
                port = connection.socket.getsockname()[1]
                connection.send(self.path, times)
                for _ in range(times):
                    status, body = connection.read()
                    results.append(("ok" if status == 200 else str(status), body))
            except (OSError, EOFError) as error:
                results += [(_in_a_word(error), "")] * (times - len(results))
                if connection:
                    connection.close()
                connection = None
            ended_at = time.monotonic()
            self.outcomes += [Outcome(kind, sent_at, ended_at, *result, port) for result in results]
        if connection:
            connection.close()

    # ------------------------------------------------------------------ what came out

    def wait_for(self, condition, seconds: float = TIMEOUT_SECONDS) -> None:  # type: ignore[no-untyped-def]
        """Until ``condition(outcomes)`` holds."""
        deadline = time.monotonic() + seconds
        while not condition(self.outcomes):
            assert time.monotonic() < deadline, self.summary()
            time.sleep(0.01)

    def wait_for_more(self, number: int) -> None:
        target = len(self.outcomes) + number
        self.wait_for(lambda outcomes: len(outcomes) >= target)

    def summary(self) -> Counter[tuple[str, str]]:
        return Counter((each.kind, each.result) for each in list(self.outcomes))

    @property
    def lost(self) -> list[Outcome]:
        return [each for each in self.outcomes if each.result != "ok"]

    def longest_gap(self, since: float = 0.0) -> float:
        """Seconds without any answer."""
        times = sorted(each.ended_at for each in self.outcomes if each.result == "ok" and each.ended_at >= since)
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def _in_a_word(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, EOFError):
        return "eof"
    return "timeout" if isinstance(error, TimeoutError) else "reset"
