"""What views call: synchronous and asynchronous helpers, as a project has them."""

import subprocess
import time
import urllib.request
from functools import lru_cache, partial, wraps
from pathlib import Path

import httpx
from asgiref.sync import async_to_sync, sync_to_async
from django.db import close_old_connections, connection, transaction

from library.models import Book, Loan

client = httpx.Client(base_url="https://isbn.example.com")


def timed(label):
    def decorate(function):
        @wraps(function)
        def wrapper(*args, **kwargs):
            result = function(*args, **kwargs)
            print(label)
            return result

        return wrapper

    return decorate


@timed("cover")
def fetch_cover(isbn):
    return urllib.request.urlopen(f"https://covers.example.com/{isbn}").read()


def lookup(isbn):
    return _lookup(isbn)


def _lookup(isbn):
    return client.get(f"/{isbn}").json()


@lru_cache
def version():
    return subprocess.check_output(["git", "rev-parse", "HEAD"])


@sync_to_async
def report():
    time.sleep(2)
    return list(Book.objects.all())


def price(book):
    return book.copies * 2


def lend(book, reader):
    with transaction.atomic():
        return Loan.objects.create(book=book, reader=reader)


def open_loans(reader):
    return Loan.objects.filter(reader=reader, returned=False)


def count_loans():
    return Loan.objects.count()


def count_loans_tidily():
    try:
        return Loan.objects.count()
    finally:
        close_old_connections()


async def notify(loan):
    async with httpx.AsyncClient() as http:
        await http.post("https://notify.example.com", json={"loan": loan.pk})


async def record(loan):
    await Loan.objects.filter(pk=loan.pk).aupdate(returned=True)


notify_now = async_to_sync(notify)
nightly = partial(time.sleep, 30)
TEMPLATE = Path(__file__).parent / "letter.txt"


class Isbn:
    def __init__(self, timeout):
        self.http = httpx.Client(timeout=timeout)

    def title(self, isbn):
        return self.http.get(f"https://isbn.example.com/{isbn}").text

    async def atitle(self, isbn):
        return self.http.get(f"https://isbn.example.com/{isbn}").text  # expect: 401


def row_count():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM library_book")
        return cursor.fetchone()[0]
