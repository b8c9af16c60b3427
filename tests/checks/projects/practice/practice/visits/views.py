import asyncio
import functools
import http.client
import itertools
import json
import smtplib
import subprocess
import threading
from asyncio import create_task, to_thread as in_thread
from operator import itemgetter

import httpx
from asgiref.sync import sync_to_async as s2a
from django.contrib import messages
from django.contrib.auth import get_user, logout
from django.core import serializers
from django.core.files.storage import FileSystemStorage, default_storage
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Prefetch
from django.db.models.signals import post_save
from django.forms import ModelForm, modelformset_factory
from django.forms.models import model_to_dict
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views import View

from . import repository as repo
from .models import Clinic, Doctor, Label, Visit

visits = repo.VisitRepository()
doctors = repo.DoctorRepository()
pager = repo.Pager("https://pager.example")
tariff = repo.Tariff()
http_session = httpx.Client()
lock = threading.Lock()
background = set()


class VisitForm(ModelForm):
    class Meta:
        model = Visit
        fields = ["doctor", "notes"]


VisitFormSet = modelformset_factory(Visit, fields=["notes"])


async def one(request: HttpRequest, pk):
    visit = visits.find(pk)
    doctor = await doctors.afind(visit.doctor_id)
    return JsonResponse({"doctor": doctor.name, "clinic": doctor.clinic.name})  # expect: 403


async def agenda(request):
    rows = visits.today()
    pager.notify("agenda")
    busiest = Visit.busiest()
    return JsonResponse({"rows": [r.pk for r in rows], "busiest": busiest})


async def by_doctor(request):
    rows = [v async for v in Visit.objects.select_related("doctor")]
    rows.sort(key=lambda v: v.doctor.name)  # fine
    groups = itertools.groupby(rows, key=lambda v: v.doctor.clinic.name)  # expect: 403
    return JsonResponse({name: len(list(group)) for name, group in groups})


async def names(request):
    found = [v.doctor.name async for v in Visit.objects.all()]  # expect: 403
    deep = [v.doctor.clinic.name async for v in Visit.objects.select_related("doctor__clinic")]  # fine
    return JsonResponse({"found": found, "deep": deep})


async def printed(request):
    visit = await Visit.objects.select_related("doctor").afirst()
    return HttpResponse(f"Visit with {visit.doctor}")


async def prices(request):
    rows = [v async for v in Visit.upcoming()]
    total = tariff.total(rows)  # fine: nothing waits
    first = tariff(rows[0])
    return JsonResponse({"total": total, "first": first})


async def report(request):
    with repo.Report(Visit.objects.all()) as each:
        size = len(each)
    with repo.raw_cursor() as cursor:
        cursor.execute("select 1")
    return JsonResponse({"size": size})


async def note(request, pk):
    visit = await visits.afind(pk)
    async with repo.audited(visit) as v:
        v.notes = "seen"
    return HttpResponse(status=204)


async def close(request):
    repo.close_day([1])  # expect: 406
    await s2a(repo.close_day)([2])  # fine
    return HttpResponse(status=204)


async def serialized(request):
    data = serializers.serialize("json", Visit.objects.all())  # expect: 402
    rows = json.dumps(list(Clinic.objects.values("name")))  # expect: 402
    fine = json.dumps([c async for c in Clinic.objects.values("name")])
    return HttpResponse(data + rows + fine)


async def paged(request):
    page = Paginator(Visit.objects.order_by("pk"), 20).get_page(request.GET.get("page"))  # expect: 402
    everything = [v async for v in Visit.objects.order_by("pk")]
    fine = Paginator(everything, 20).get_page(1)
    return JsonResponse({"n": len(fine), "page": str(page)})


async def labels(request, pk):
    visit = await Visit.objects.prefetch_related("labels").aget(pk=pk)
    texts = [label.text for label in visit.labels.all()]  # fine
    visit.labels.add(1)  # expect: 402
    some = visit.labels.filter(text="x").exists()  # expect: 402
    data = model_to_dict(visit, fields=["notes"])  # fine
    return JsonResponse({"texts": texts, "some": some, "data": data})


async def ask_all(request):
    urls = ["https://a.example", "https://b.example"]
    up = [*map(httpx.head, urls)]  # expect: 401
    ok = any(http_session.get(url).is_success for url in urls)  # expect: 401
    later = functools.partial(httpx.get, "https://c.example")
    text = await in_thread(later)  # fine
    again = later()  # expect: 401
    return JsonResponse({"up": len(up), "ok": ok, "text": text.text, "again": again.text})


async def fax(request):
    connection = http.client.HTTPSConnection("fax.example")
    connection.request("POST", "/send")  # expect: 401
    with smtplib.SMTP("mail.example") as smtp:  # expect: 401
        smtp.sendmail("a@x.example", ["b@x.example"], "x")  # expect: 401
    process = subprocess.Popen(["true"])
    process.wait()  # expect: 401
    return HttpResponse()


async def mailed(request):
    EmailMultiAlternatives("a", "b", to=["c@x.example"]).send(fail_silently=True)  # expect: 415
    with get_connection() as connection:
        connection.send_messages([])  # expect: 415
    return HttpResponse()


async def scan(request, pk):
    visit = await Visit.objects.aget(pk=pk)
    exists = default_storage.exists(visit.scan.name)  # expect: 415
    visit.scan.save("x.png", request.FILES["x"])  # expect: 415
    return JsonResponse({"exists": exists, "url": visit.scan.url, "name": visit.scan.name})  # fine: url


async def leave(request):
    logout(request)  # expect: 415
    user = get_user(request)  # expect: 415
    return HttpResponse(str(user))


async def basket(request):
    cart = await request.session.aget("cart", {})
    request.session["cart"] = cart  # fine: it is loaded
    messages.success(request, "ok")  # fine
    return HttpResponse()


async def counter(request):
    if "seen" in request.session:  # expect: 404
        return HttpResponse("again")
    await request.session.aset("seen", 1)
    return HttpResponse("first")


async def who(request):
    user = await request.auser()
    if user.has_perm("visits.view_visit"):  # expect: 402
        return HttpResponse(user.username)
    return HttpResponse(request.user.username)  # expect: 404


async def formset(request):
    forms = VisitFormSet(request.POST)
    if forms.is_valid():  # expect: 420
        await s2a(forms.save)()
    form = VisitForm(request.POST)
    ok = await s2a(form.is_valid)()
    return HttpResponse(str(ok))


async def background_job(request):
    loop = asyncio.get_running_loop()
    loop.create_task(slow())  # expect: 413
    task = create_task(slow())
    background.add(task)
    task.add_done_callback(background.discard)  # fine
    post_save.send(Visit, instance=None, created=True)  # expect: 418
    return HttpResponse()


async def slow():
    lock.acquire()  # expect: 419
    try:
        await asyncio.sleep(1)
    finally:
        lock.release()


async def doubled(request):
    first, second = await asyncio.gather(*[visits.afind(n) for n in (1, 2)])
    await asyncio.gather(first.asave(), second.asave())  # expect: 417
    return HttpResponse()


async def finally_saved(request, pk):
    visit = await visits.afind(pk)
    try:
        await asyncio.sleep(0)
    finally:
        visit.save()  # expect: 402
    return HttpResponse()


async def only_some(request):
    async for visit in Visit.objects.only("at"):
        print(visit.notes)  # expect: 403
    async for visit in Visit.objects.defer("scan"):
        print(visit.notes)  # fine
    return HttpResponse()


async def csv(request):
    lines = (str(v) + "\n" for v in Visit.objects.iterator())
    return StreamingHttpResponse(lines, content_type="text/csv")  # expect: 407


async def zipped(request):
    return FileResponse(default_storage.open("all.zip"), as_attachment=True)  # expect: 407, 415


async def parts(request):
    async def lines():
        async for visit in Visit.objects.prefetch_related(Prefetch("labels", to_attr="all_labels")):
            yield ",".join(label.text for label in visit.all_labels)  # fine

    return StreamingHttpResponse(lines())


async def combined(request):
    some = Visit.objects.filter(pk__in=Visit.objects.values("pk"))  # fine: a subquery
    both = some | Visit.upcoming()
    fallback = some or []  # expect: 402
    newest = max(both, key=itemgetter(0))  # expect: 402
    asserted = await both.aexists()
    assert both.exists()  # fine: it has its result
    return JsonResponse({"n": len(fallback), "x": str(newest), "a": asserted})


class Board(View):
    http_method_names = ["get", "post"]

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.clinics = Clinic.objects.all()

    async def get(self, request):
        names = sorted(clinic.name for clinic in self.clinics)  # expect: 402
        return JsonResponse({"names": names, "cards": await s2a(self.cards)(), "n": self.n()})

    async def post(self, request):
        doctor = await Doctor.objects.select_related("user").aget(pk=1)
        return HttpResponse(doctor.user.username)  # fine

    def cards(self):
        return [d.name for d in Doctor.objects.all()]  # fine

    def n(self):
        return self.clinics.count()  # fine: they are there
