from __future__ import annotations

import abc
import dataclasses
import time as clock
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, Protocol, TypeVar

import httpx
from django.db import connection, models, transaction

from .models import Doctor, Visit

M = TypeVar("M", bound=models.Model)


class Repository(Generic[M]):
    model: type[M]

    def find(self, pk: int) -> M:
        return self.model.objects.get(pk=pk)  # expect: 402

    async def afind(self, pk: int) -> M:
        return await self.model.objects.aget(pk=pk)

    def everything(self):
        return self.model.objects.all()


class VisitRepository(Repository[Visit]):
    model = Visit

    def today(self) -> list[Visit]:
        return [visit for visit in self.everything() if visit.pk]  # expect: 402


class DoctorRepository(Repository[Doctor]):
    model = Doctor


class Notifier(Protocol):
    def notify(self, text: str) -> None: ...


@dataclasses.dataclass
class Pager:
    url: str
    client: httpx.Client = dataclasses.field(default_factory=httpx.Client)

    def notify(self, text: str) -> None:
        self.client.post(self.url, json={"text": text})  # expect: 401


class Base(abc.ABC):
    @abc.abstractmethod
    def price(self, visit): ...

    def total(self, visits):
        return sum(self.price(visit) for visit in visits)


class Tariff(Base):
    def __call__(self, visit):
        clock.sleep(0.1)  # expect: 401
        return 1

    def price(self, visit):
        return 20


class Report:
    def __init__(self, visits):
        self.visits = visits

    def __len__(self):
        return self.visits.count()  # expect: 402

    def __iter__(self):
        yield from self.visits

    def __enter__(self):
        clock.sleep(1)  # expect: 401
        return self

    def __exit__(self, *exc):
        return False


@asynccontextmanager
async def audited(visit):
    yield visit
    visit.save(update_fields=["notes"])  # expect: 402


@contextmanager
def raw_cursor():
    with connection.cursor() as cursor:  # expect: 402
        yield cursor


@transaction.atomic
def close_day(visits):  # called by transaction in an async view
    Visit.objects.filter(pk__in=visits).delete()
