"""Asynchronous generators, context managers and helpers that nobody reaches through a URL."""

import contextlib
import time

import httpx

from library.models import Book, Loan


async def events():
    while True:
        for book in Book.objects.all():  # expect: 402
            yield book.title


@contextlib.asynccontextmanager
async def lifespan(app):
    time.sleep(1)  # expect: 401
    yield {}


async def describe(book: Book) -> str:
    book.save()  # expect: 402
    return book.author.name


class Closing:
    async def __aenter__(self):
        self.client = httpx.Client()
        return self

    async def __aexit__(self, *exc):
        self.client.get("https://isbn.example.com/bye")  # expect: 401


async def match_it(command: Loan | None):
    match command:
        case Loan(returned=True):
            command.delete()  # expect: 402
        case _:
            return None


async def silenced():
    time.sleep(1)  # asgi: ignore[401] start-up, nobody waits
    # asgi: ignore[sync-orm] the same
    return Book.objects.count()
