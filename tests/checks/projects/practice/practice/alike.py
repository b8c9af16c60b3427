"""Nothing here is a mistake, although much of it looks like one."""

import asyncio, collections, contextlib, contextvars, dataclasses, functools, io, json, queue, threading, time, typing
import httpx
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import caches
from django.core.paginator import Paginator
from django.db import connection, transaction
from django.db.models import (
    Count,
    F,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    prefetch_related_objects,
    aprefetch_related_objects,
)
from django.http import FileResponse, Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.views import View
from .visits.models import Clinic, Doctor, Label, Visit

current = contextvars.ContextVar("current")
lock = asyncio.Lock()
tlock = threading.Lock()
ALL = Visit.objects.filter(notes="")
jobs = set()


class Inventory:
    def __init__(self):
        self.items = []

    def save(self):
        self.items.sort()

    def delete(self):
        self.items.clear()

    def filter(self, **kw):
        return [i for i in self.items]

    def get(self, key):
        return self.items[key]

    def count(self):
        return len(self.items)

    objects = None


class time_(object):
    @staticmethod
    def sleep(n):
        return n


class Form:
    def is_valid(self):
        return True

    def save(self):
        return 1


@dataclasses.dataclass
class Row:
    doctor: str
    patient: str


def get(url):
    return {"url": url}


async def a(request):
    inv = Inventory()
    inv.save()
    inv.delete()
    inv.filter(a=1)
    inv.count()
    time_.sleep(3)
    f = Form()
    f.is_valid()
    f.save()
    get("x")
    rows = [Row("a", "b")]
    print(rows[0].doctor, rows[0].patient)
    d = {}
    d.get("x")
    d.update(a=1)
    q = queue.Queue()
    q.put_nowait(1)
    q.get_nowait()
    c = collections.Counter([1, 2])
    c.update([3])
    current.set(1)
    current.get()
    async with lock:
        await asyncio.sleep(0)
    with tlock:
        d["a"] = 1
    return HttpResponse(io.BytesIO(b"x").read())


async def b(request):
    qs = Visit.objects.filter(Q(notes="x") | Q(pk=1)).annotate(n=Count("labels")).order_by("-n")
    qs = qs.select_related("doctor__clinic", "patient").prefetch_related("labels")
    sub = Doctor.objects.filter(pk=OuterRef("doctor")).values("name")
    qs = qs.annotate(d=Subquery(sub[:1])).exclude(pk__in=Visit.objects.filter(notes="y"))
    print(qs.query, qs.model, qs.db)
    visits = [v async for v in qs[:10]]
    for v in visits:
        print(
            v.doctor.clinic.name,
            v.patient.username,
            v.doctor_id,
            v.pk,
            len(v.labels.all()),
            [l.text for l in v.labels.all()],
        )
    if visits and len(visits) > 1 and visits[0].doctor:
        print(visits[-1].doctor.name)
    return TemplateResponse(request, "x.html", {"visits": qs, "page": Paginator(visits, 5).page(1)})


async def c(request):
    doctor = Doctor(name="x", clinic=await Clinic.objects.afirst())
    print(doctor.clinic.name)
    await doctor.asave()
    visit = await Visit.objects.acreate(doctor=doctor, notes="x")
    print(visit.doctor.name)
    visit.patient = await request.auser()
    print(visit.patient.username)
    got = await Visit.objects.select_related("doctor").filter(pk=1).afirst()
    print(got.doctor.name if got else None)
    others = [v async for v in Visit.objects.all()]
    await aprefetch_related_objects(others, "doctor")
    print([v.doctor.name for v in others])
    loaded = await sync_to_async(lambda: Visit.objects.select_related("doctor").get(pk=1))()
    print(loaded.doctor.name)
    pair = await sync_to_async(lambda v: (v, v.doctor))(loaded)
    return JsonResponse({"x": [v async for v in Visit.objects.values("pk")], "p": len(pair)})


async def d(request):
    session = httpx.Client()
    session.headers.update({"a": "b"})
    r = await asyncio.to_thread(session.get, "https://x")
    r2 = await asyncio.get_running_loop().run_in_executor(None, functools.partial(httpx.get, "x", timeout=3))
    r3 = await sync_to_async(httpx.post, thread_sensitive=False)("x")
    r4 = await sync_to_async(time.sleep)(1)
    async with httpx.AsyncClient() as cl:
        await cl.get("x")
    p = await asyncio.create_subprocess_exec("ls")
    await p.wait()
    try:
        await asyncio.wait_for(asyncio.sleep(1), 2)
    except asyncio.CancelledError:
        raise
    except TimeoutError:
        pass
    return HttpResponse(r.text + r2.text)


async def e(request):
    user = await request.auser()
    if user.is_authenticated and user.is_active and not user.is_anonymous:
        print(user.username, user.pk, user.get_full_name())
    await request.session.aset("x", 1)
    print(request.session.get("x"), request.user_agent if hasattr(request, "user_agent") else "")
    print(request.GET.get("a"), request.POST.get("b"), request.headers.get("c"), request.META.get("REMOTE_ADDR"))
    task = asyncio.create_task(asyncio.sleep(0))
    jobs.add(task)
    task.add_done_callback(jobs.discard)
    t1 = asyncio.create_task(Visit.objects.acount())
    n = await t1
    async with asyncio.TaskGroup() as tg:
        t2 = tg.create_task(Visit.objects.acount())
    coros = [Visit.objects.acount()]
    res = await asyncio.gather(*coros)
    co = Visit.objects.acount()
    m = await co
    results = await asyncio.gather(asyncio.sleep(0), Visit.objects.acount())
    return HttpResponse(str(n + t2.result() + m + res[0]))


async def f(request):
    async def gen():
        async for v in Visit.objects.select_related("doctor").aiterator():
            yield v.doctor.name
            await asyncio.sleep(0)

    async def sync_list():
        return 1

    return StreamingHttpResponse(gen()) if await sync_list() else StreamingHttpResponse([b"a", b"b"])


async def g(request):
    none = Visit.objects.none()
    for v in none:
        print(v)
    fn = Visit.objects.count
    n = await sync_to_async(fn)()
    visits = await sync_to_async(list)(Visit.objects.all())
    ids = list({v.pk for v in visits})
    tuple(visits)
    sorted(visits, key=lambda v: v.pk)
    len(visits)
    mapping = await Visit.objects.ain_bulk(ids)
    print([v.notes for v in mapping.values()])
    obj, created = await Visit.objects.aget_or_create(pk=1)
    print(obj.notes, created)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient())
        await client.get("x")
    return JsonResponse({"n": n})


@sync_to_async
def save_all(visits):
    with transaction.atomic():
        for v in visits:
            v.save()
            print(v.doctor.name, v.labels.count())


async def h(request):
    visits = [v async for v in Visit.objects.all()]
    await save_all(visits)
    await sync_to_async(connection.ensure_connection)()
    if hasattr(visits[0], "doctor"):  # fine: save_all() has loaded it
        pass
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
    return HttpResponse()


class V(View):
    queryset = Visit.objects.all()
    cache: typing.ClassVar[dict] = {}

    def get_visits(self):
        return self.queryset.filter(notes="x")

    async def get(self, request):
        cached = self.cache.get("x")
        visits = [v async for v in self.get_visits()]
        total = await self.get_visits().acount()
        return render(request, "x.html", {"visits": visits, "total": total, "cached": cached})

    def as_text(self):
        return list(self.queryset)


class Old(View):
    def setup(self, request, *a, **k):
        super().setup(request, *a, **k)
        self.n = Visit.objects.count()

    def get(self, request):
        time.sleep(1)
        return JsonResponse({"n": self.n, "u": request.user.username})


class Good(View):
    def setup(self, request, *a, **k):
        super().setup(request, *a, **k)
        self.visits = Visit.objects.filter(pk=k.get("pk"))
        self.started = time.monotonic()

    def dispatch(self, request, *a, **k):
        if request.method == "PUT":
            raise Http404
        return super().dispatch(request, *a, **k)

    async def get(self, request):
        return JsonResponse({"n": await self.visits.acount()})


def never_called():
    Visit.objects.count()
    time.sleep(9)
    httpx.get("x")


async def uses_async_only(request):
    handler = never_called if request.GET else None
    loop = asyncio.get_running_loop()
    loop.call_later(1, print, "x")
    fut = loop.create_future()
    loop.call_soon(fut.set_result, 1)
    await fut
    names = list(map(str, [1, 2]))
    any([1])
    max([1, 2])
    ",".join(names)
    return HttpResponse(str(handler))
