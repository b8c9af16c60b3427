import asyncio
import contextlib
import csv
import functools
import io
import os
import threading
import time
from time import sleep as pause
from typing import TYPE_CHECKING, Annotated

import httpx
from asgiref.sync import sync_to_async
from django.core.cache import cache as shared
from django.core.files.storage import storages
from django.core.mail import mail_admins
from django.db.transaction import atomic
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.template import loader
from django.views.generic import DetailView, ListView, TemplateView, View

from ..articles.services import clients
from ..articles.services.publishing import Digest, publish, retract
from .forms import IssueForm, SubscribeForm
from .models import Issue, Subscriber
from .tasks import send_issue

request_local = threading.local()
pool_sleep = functools.partial(time.sleep, 0.2)


@functools.cache
async def rates_table():  # expect: 411
    await asyncio.sleep(0)
    return {"eur": 1}


async def subscribe(request):
    form = SubscribeForm(request.POST)
    if not form.is_valid():  # fine: a plain form
        return HttpResponse(status=400)
    subscriber, _ = await Subscriber.objects.aget_or_create(email=form.cleaned_data["email"])
    mail_admins("New reader", subscriber.email)  # expect: 415
    return HttpResponse(status=201)


async def issue_new(request):
    form = IssueForm(request.POST or None)
    if await sync_to_async(form.is_valid)():
        issue = form.save()  # expect: 420
        send_issue.enqueue(issue.pk)  # expect: 118, 421
    return HttpResponse()


async def issue_send(request, pk):
    issue = await Issue.objects.aget(pk=pk)
    await send_issue.aenqueue(issue.pk)  # fine
    result = send_issue.enqueue(pk=pk)  # expect: 421
    return JsonResponse({"task": str(result.id), "lead": str(issue.lead)})  # expect: 403


async def waiting_room(request):
    pause(0.3)  # expect: 401
    await asyncio.to_thread(pause, 1)  # fine
    pool_sleep()  # expect: 401
    value = clients.with_retries(lambda: 1)
    os.system("true")  # expect: 401
    return JsonResponse({"value": value, "rates": len(clients.rates())})


async def poll_partner(request):
    async with httpx.AsyncClient() as client:
        answer = await client.get("https://partner.example")  # fine
    with httpx.Client() as client:
        second = client.post("https://partner.example", json={"a": 1})  # expect: 401
    third = clients.requests.get("local")  # fine: our own class
    return JsonResponse({"a": answer.status_code, "b": second.status_code, "c": third})


async def digest(request):
    when = asyncio.get_running_loop().time()
    mail = Digest(when)
    subject = mail.subject()
    first, second = await asyncio.gather(subject, asyncio.sleep(0, "x"))  # fine: not both are queries
    asyncio.run(mail.send())  # expect: 412
    return HttpResponse(first + second)


async def report(request):
    readers = Subscriber.objects.filter(confirmed=True)
    text = loader.get_template("report.txt").render({"readers": readers})  # expect: 416
    html = render(request, "report.html", {"readers": [r async for r in readers], "n": await readers.acount()})  # fine
    html.content += text.encode()
    return html


async def counters(request):
    shared.incr("reports")  # expect: 415
    await shared.aset("seen", 1)
    request_local.user = 1  # expect: 410
    total = len(Subscriber.objects.all())  # expect: 402
    if Subscriber.objects.filter(confirmed=False):  # expect: 402
        total += 1
    emails = {s.email for s in Subscriber.objects.only("email")}  # expect: 402
    one, *rest = Subscriber.objects.order_by("pk")  # expect: 402
    return JsonResponse({"total": total, "emails": sorted(emails), "one": one.email, "rest": len(rest)})


async def export(request):
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    rows = [row async for row in Subscriber.objects.values_list("email", "confirmed")]
    writer.writerows(rows)  # fine
    with storages["default"].open("export.csv", "w") as target:  # expect: 415
        target.write(buffer.getvalue())
    return HttpResponse(buffer.getvalue(), content_type="text/csv")


async def confirm(request, pk):
    @atomic
    def work():
        subscriber = Subscriber.objects.select_for_update().get(pk=pk)  # fine: in sync_to_async
        subscriber.confirmed = True
        subscriber.save()
        return subscriber

    @sync_to_async
    def count():
        return Subscriber.objects.count()  # fine

    done = await sync_to_async(work)()
    return JsonResponse({"email": done.email, "count": await count()})


async def cancelling(request):
    task = asyncio.create_task(retract(1))
    try:
        await asyncio.wait_for(task, 5)
    except TimeoutError:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    background = [asyncio.create_task(publish(None)), asyncio.create_task(asyncio.sleep(1))]
    await asyncio.gather(*background)  # fine
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1))  # fine: the group keeps it
    return HttpResponse()


class IssuePage(View):
    """Sync helpers that Django itself calls on the loop."""

    def setup(self, request, *args, **kwargs):
        super().setup(request, *args, **kwargs)
        self.issue = Issue.objects.get(pk=kwargs["pk"])  # expect: 402

    async def get(self, request, pk):
        return HttpResponse(self.issue.title)


class ReaderPage(View):
    def dispatch(self, request, *args, **kwargs):  # expect: 305
        if not request.user.is_active:
            return HttpResponse(status=403)
        return super().dispatch(request, *args, **kwargs)

    async def get(self, request):
        return HttpResponse()


class Issues(ListView):
    model = Issue

    async def get(self, request, *args, **kwargs):
        self.object_list = self.get_queryset()
        context = await sync_to_async(self.get_context_data)()
        return self.render_to_response(context)

    def get_queryset(self):
        drafts = Issue.objects.filter(lead=None)
        if drafts.exists():  # expect: 402
            return drafts
        return Issue.objects.all()

    def get_context_data(self, **kwargs):
        return super().get_context_data(total=Issue.objects.count(), **kwargs)  # fine: in sync_to_async


class OldIssues(ListView):
    """All sync: fine in every hook."""

    model = Issue

    def get(self, request, *args, **kwargs):
        Issue.objects.count()  # fine
        return super().get(request, *args, **kwargs)


class Landing(TemplateView):
    template_name = "landing.html"

    async def get(self, request, *args, **kwargs):
        return self.render_to_response(self.get_context_data(**kwargs))

    def get_context_data(self, **kwargs):
        context = super().get_context_data(**kwargs)
        context["readers"] = Subscriber.objects.count()  # expect: 402
        return context


class Imprint(TemplateView):
    template_name = "imprint.html"

    async def get(self, request, *args, **kwargs):
        return super().get(request, *args, **kwargs)

    def get_context_data(self, **kwargs):
        return super().get_context_data(newest=Issue.objects.last(), **kwargs)  # expect: 402


class IssueDetail(DetailView):
    model = Issue

    async def get(self, request, *args, **kwargs):
        self.object = self.get_object()  # expect: 402
        return self.render_to_response(self.get_context_data(object=self.object))


class IssueOptions(View):
    async def get(self, request):
        return HttpResponse()

    def http_method_not_allowed(self, request, *args, **kwargs):
        time.sleep(0.1)  # expect: 401
        return super().http_method_not_allowed(request, *args, **kwargs)
