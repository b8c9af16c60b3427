import functools
import threading
import time
from contextlib import suppress

import httpx
from django.core.cache import cache

from .visits.models import Doctor, Visit

state = threading.local()


def get_tenant():
    return getattr(state, "tenant", None)  # expect: 410


def geocode(address):
    response = httpx.get("https://geo.example", params={"q": address}, timeout=5)  # expect: 401
    response.raise_for_status()
    return response.json()


def throttle(fn):
    @functools.wraps(fn)
    async def wrapper(request, *args, **kwargs):
        key = f"t:{request.META['REMOTE_ADDR']}"
        if cache.get(key):  # expect: 415
            time.sleep(1)  # expect: 401
        return await fn(request, *args, **kwargs)

    return wrapper


class DoctorService:
    def __init__(self, *, session=None):
        self._session = session or httpx.Client()
        self._seen = {}

    def rating(self, doctor):
        with suppress(httpx.HTTPError):
            return self._session.get(f"https://r.example/{doctor.pk}").json()  # expect: 401

    async def arating(self, doctor):
        if doctor.pk in self._seen:
            return self._seen[doctor.pk]
        self._seen[doctor.pk] = rating = self.rating(doctor)
        return rating

    @staticmethod
    def stats():
        return {"doctors": Doctor.objects.count()}  # expect: 402

    @classmethod
    async def create(cls, name):
        service = cls()
        service.doctor, _ = await Doctor.objects.aget_or_create(name=name)
        return service


def log_visit(visit, level="info"):
    print(f"{level}: {visit.pk} {visit.notes}")


async def refresh(visit):
    await visit.arefresh_from_db()
    return visit
