"""Everything that talks to other companies."""

import socket
import time
import typing
import urllib.request as urlreq
from contextlib import contextmanager

import httpx
import requests as rq


class requests:  # noqa: N801
    """Counts what was asked, nothing to do with the library."""

    total = 0

    @classmethod
    def get(cls, key):
        cls.total += 1
        return key


class BaseClient:
    timeout: float = 2.0

    def __init__(self, base: str):
        self.base = base.rstrip("/")
        self.http = httpx.Client(base_url=self.base, timeout=self.timeout)
        self.ahttp = httpx.AsyncClient(base_url=self.base, timeout=self.timeout)

    def _get(self, path: str) -> typing.Any:
        return self.http.get(path).json()  # expect: 401


class WireClient(BaseClient):
    def lookup(self, slug):
        return self._get(f"/stories/{slug}")

    async def alookup(self, slug):
        answer = await self.ahttp.get(f"/stories/{slug}")
        return answer.json()


class Pressroom:
    def __init__(self, host="press.example", port=7000):
        self.address = (host, port)

    @contextmanager
    def _line(self):
        conn = socket.create_connection(self.address)  # expect: 401
        try:
            yield conn
        finally:
            conn.close()

    def announce(self, text):
        with self._line() as line:
            line.sendall(text.encode())


pressroom = Pressroom()


def rates() -> bytes:
    with urlreq.urlopen("https://rates.example/eur") as answer:  # expect: 401
        return answer.read()


def with_retries(call, times=3):
    for attempt in range(times):
        try:
            return call()
        except OSError:
            time.sleep(2**attempt)  # expect: 401
    raise TimeoutError


def post_form(url, **data):
    return rq.post(url, data=data)  # fine: only used from a command
