"""The front desk: written when the rest of the project was found in full."""

import asyncio
import concurrent.futures
import functools
import json
import subprocess
import typing
from datetime import timedelta
from urllib.request import urlopen

from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import aauthenticate, authenticate as check_login, get_user_model
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage as storage
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Avg, F, Sum
from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_list_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.decorators import classonlymethod
from django.views.generic import CreateView, View
from django.views.generic.edit import FormView
from django import forms

from . import helpers
from .helpers import DoctorService, geocode, get_tenant, throttle
from .visits.models import Clinic, Doctor, Label, Visit

User = get_user_model()
service = DoctorService()
pool = concurrent.futures.ThreadPoolExecutor(max_workers=4)
tasks: list[asyncio.Task] = []


class ContactForm(forms.Form):
    name = forms.CharField()
    clinic = forms.ModelChoiceField(Clinic.objects.all())


@throttle
async def where(request):
    place = geocode(request.GET["q"])
    tenant = get_tenant()
    return JsonResponse({"place": place, "tenant": tenant})


async def rated(request):
    doctors = [d async for d in Doctor.objects.all()]
    ratings = {d.pk: await service.arating(d) for d in doctors}
    return JsonResponse({"ratings": ratings, **service.stats()})


async def forgotten(request):
    user = request.auser()  # expect: 405
    if user.is_authenticated:
        return HttpResponse("hi")
    if Visit.objects.filter(patient=1).aexists():  # expect: 405
        return HttpResponse("visits")
    visit = await Visit.objects.afirst()
    helpers.refresh(visit)  # expect: 405
    asyncio.sleep(0.1)  # expect: 405
    sync_to_async(helpers.log_visit)(visit)  # expect: 405
    count = sync_to_async(Visit.objects.count)()  # expect: 405
    return JsonResponse({"count": count + 1})


async def aggregates(request):
    totals = Visit.objects.aggregate(n=Sum("pk"))  # expect: 402
    recent = Visit.objects.filter(at__gte=timezone.now() - timedelta(days=1))
    changed = recent.update(notes="")  # expect: 402
    Label.objects.bulk_create([Label(text="a"), Label(text="b")])  # expect: 402
    ids = set(recent.values_list("pk", flat=True))  # expect: 402
    by_id = Visit.objects.in_bulk(list(ids))  # expect: 402
    everything = get_list_or_404(Clinic)  # expect: 402
    return JsonResponse({"t": totals, "c": changed, "n": len(by_id), "e": len(everything)})


async def related(request, pk):
    clinic = await Clinic.objects.aget(pk=pk)
    for doctor in clinic.doctors.all():  # expect: 402
        print(doctor)
    clinic.doctors.create(name="x")  # expect: 402
    doctor = await clinic.doctors.afirst()
    print(doctor.clinic.name)  # fine: known from the manager
    first = clinic.doctors.select_related("user")[0]  # expect: 402
    return HttpResponse(first.user.username)


async def attached(request, pk):
    visit = await Visit.objects.select_related("doctor").aget(pk=pk)
    doctor = visit.doctor
    clinic = doctor.clinic  # expect: 403
    patient = getattr(visit, "patient")  # expect: 403
    return JsonResponse({"clinic": clinic.name, "patient": patient.username, "id": visit.doctor.clinic_id})


async def in_threads(request):
    future = pool.submit(Visit.objects.count)  # expect: 408
    n = await asyncio.wrap_future(future)
    rows = await asyncio.get_event_loop().run_in_executor(None, lambda: list(Visit.objects.all()))  # expect: 408
    one = await asyncio.to_thread(lambda: Visit.objects.first())  # expect: 408

    @sync_to_async(thread_sensitive=False)
    def count():
        return Doctor.objects.count()

    m = await count()  # expect: 408
    fine = await asyncio.get_running_loop().run_in_executor(pool, json.dumps, {"a": 1})  # fine
    return JsonResponse({"n": n, "r": len(rows), "o": one.pk, "m": m, "f": fine})


@sync_to_async
def find_visits(doctor_id):
    return Visit.objects.filter(doctor_id=doctor_id)


@sync_to_async
def find_visits_now(doctor_id):
    return list(Visit.objects.filter(doctor_id=doctor_id).select_related("doctor"))


async def lazily(request):
    visits = await find_visits(1)  # expect: 409
    good = await find_visits_now(1)
    names = [v.doctor.name for v in good]  # fine
    latest = await sync_to_async(Visit.objects.order_by("-at").first)()  # fine
    also = await sync_to_async(Visit.objects.all)()
    found = [v.pk async for v in also]  # fine
    return JsonResponse({"v": [v.pk for v in visits], "n": names, "l": latest.pk, "f": found})


class Catalogue:
    @functools.lru_cache(maxsize=None)
    async def entries(self):  # expect: 411
        return [d.name async for d in Doctor.objects.all()]

    @functools.cached_property
    def size(self):
        return 3


async def nested_loops(request):
    value = async_to_sync(helpers.refresh)(None)  # expect: 412
    loop = asyncio.new_event_loop()
    other = loop.run_until_complete(helpers.refresh(None))  # expect: 412
    return JsonResponse({"v": value, "o": other})


async def started(request):
    asyncio.get_running_loop().create_task(write_audit("x"))  # expect: 413
    tasks.append(asyncio.create_task(write_audit("y")))  # fine
    task = asyncio.ensure_future(write_audit("z"))
    await asyncio.wait({task})  # fine
    return HttpResponse()


async def write_audit(text):
    await Label.objects.acreate(text=text)


async def sign(request):
    user = check_login(request, username="a", password="b")  # expect: 415
    person = await User.objects.aget(pk=1)
    person.set_password("new")  # expect: 415
    await person.asave()
    ok = person.check_password("new")  # expect: 415
    return JsonResponse({"user": user and user.pk, "ok": ok})


async def stored(request):
    name = storage.save("a.txt", ContentFile(b"x"))  # expect: 415
    with storage.open(name) as f:  # expect: 415
        data = f.read()
    send_mail("s", "m", None, ["a@b.example"], fail_silently=False)  # expect: 415
    out = subprocess.check_output(["ls"])  # expect: 401
    with urlopen("https://x.example") as answer:  # expect: 401
        body = answer.read()
    with open("/etc/hosts") as f:  # expect: 401
        text = f.read()
    return HttpResponse(data + out + body + text.encode())


async def drawn(request):
    context = {"title": "x"}
    context["visits"] = Visit.objects.all()
    html = render_to_string("a.html", context)  # expect: 416
    ctx = dict(doctors=Doctor.objects.filter(clinic=1), html=html)
    return render(request, "b.html", ctx)  # expect: 416


class Contact(FormView):
    form_class = ContactForm
    template_name = "contact.html"
    success_url = "/"
    http_method_names = ["get", "post"]

    async def post(self, request, *args, **kwargs):
        form = self.get_form()
        if form.is_valid():  # expect: 420
            return self.form_valid(form)
        return self.form_invalid(form)

    async def get(self, request, *args, **kwargs):
        return self.render_to_response(self.get_context_data(latest=self.latest()))

    def latest(self):
        return Visit.objects.latest("at").pk  # expect: 402

    def form_valid(self, form):
        Label.objects.create(text=form.cleaned_data["name"])  # expect: 402
        return super().form_valid(form)


async def walrus(request):
    if (n := Visit.objects.count()) > 3:  # expect: 402
        return HttpResponse(str(n))
    while (visit := await Visit.objects.afirst()) and visit.doctor.name:  # expect: 403
        break
    match await Visit.objects.afirst():
        case Visit(notes="x") as found:
            return HttpResponse(found.patient.username)  # expect: 403
        case None:
            raise Http404
        case other:
            other.delete()  # expect: 402
    return redirect("/")


async def early(request, pk=None):
    if pk is None:
        return HttpResponse([d.pk async for d in Doctor.objects.all()])
    visit = await Visit.objects.select_related("doctor").aget(pk=pk)
    if visit.doctor.name == "x":  # fine
        visit = await Visit.objects.aget(pk=1)
    return HttpResponse(visit.notes)


async def atomic_block(request):
    @transaction.atomic
    def move():
        Visit.objects.update(notes=F("notes"))

    await sync_to_async(move)()  # fine
    with transaction.atomic(using="default"):  # expect: 406
        Visit.objects.create()  # expect: 402
    return HttpResponse()


def sync_view(request):
    async def inner():
        return await Visit.objects.acount()

    n = async_to_sync(inner)()  # fine
    return JsonResponse({"n": n, "user": request.user.username, "r": service.rating(Doctor(pk=1))})


async def typed(visits: "typing.Iterable[Visit]", request=None) -> list[str]:
    return [v.notes for v in visits]  # fine
