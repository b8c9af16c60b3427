import asyncio
import contextlib
import functools
import json
import logging
import time as clock
from pathlib import Path

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.decorators import login_required
from django.contrib.auth.hashers import check_password
from django.core import mail
from django.core.cache import caches
from django.core.cache import cache as store
from django.core.paginator import Paginator
from django.db import connections, models
from django.db.models import Count, Prefetch, Q
from django.db.transaction import atomic
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_list_or_404, redirect, render
from django.template import loader
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django.views.generic import ListView, View

from desk import gateway
from desk.forms import TicketForm, TicketFormSet
from desk.gateway import billing, convert
from desk.models import Comment, Settings, Team, Ticket

log = logging.getLogger(__name__)
ROOT = Path(settings.BASE_DIR)


# ---------------------------------------------------------------- network, sleep, files


@require_GET
async def throttled(request):
    while clock.monotonic() < 5:
        clock.sleep(0.1)  # expect: 401
    return HttpResponse()


async def invoice(request, number):
    return JsonResponse(billing.invoice(number))  # expect: 401


async def where(request):
    found = gateway.geocoder.locate(request.GET["q"])  # expect: 401
    return JsonResponse(found)


async def status(request: HttpRequest) -> HttpResponse:
    try:
        up = gateway.ping() == 200  # expect: 401
    except OSError:
        up = False
    return JsonResponse({"up": up})


async def price(request, code):
    return JsonResponse({"price": convert(10, code)})  # expect: 401


async def mail_server(request):
    with gateway.connection_to("mail.example.com") as sock:  # expect: 401
        return HttpResponse(sock.recv(10))


async def changelog(request):
    text = (ROOT / "CHANGES.txt").read_text()  # expect: 401
    return HttpResponse(text)


async def waits_for_future(request):
    future = gateway.executor.submit(gateway.ping)
    return HttpResponse(future.result())  # expect: 401


async def fine_network(request, number, code):
    invoice = await billing.ainvoice(number)
    rate = await asyncio.to_thread(gateway.exchange_rate, code)
    loop = asyncio.get_event_loop()
    up = await loop.run_in_executor(gateway.executor, functools.partial(gateway.ping))
    future = gateway.executor.submit(gateway.ping)
    again = await asyncio.wrap_future(future)
    log.info("got %s", invoice)
    text = await asyncio.to_thread((ROOT / "CHANGES.txt").read_text)
    return JsonResponse({"invoice": invoice, "rate": rate, "up": up, "again": again, "text": text})


# ---------------------------------------------------------------- queries


async def board(request):
    tickets = Ticket.objects.select_related("team").annotate(n=Count("comments")).filter(Q(closed=False))
    rows = [{"title": t.title, "n": t.n} for t in tickets]  # expect: 402
    return JsonResponse(rows, safe=False)


async def ids(request):
    return JsonResponse({"ids": list(Ticket.objects.values_list("pk", flat=True))})  # expect: 402


async def titles(request):
    return HttpResponse(", ".join(t.title for t in Ticket.objects.open()))  # expect: 402


async def exists(request, title):
    if Ticket.objects.filter(title=title).exists():  # expect: 402
        raise Http404
    return HttpResponse()


async def create(request):
    team, created = Team.objects.get_or_create(name="Support")  # expect: 402
    return JsonResponse({"team": team.pk, "created": created})


async def bulk(request):
    Comment.objects.bulk_create([Comment(text="a"), Comment(text="b")])  # expect: 402
    return HttpResponse()


async def close(request, pk):
    ticket = await Ticket.objects.aget(pk=pk)
    ticket.close()  # expect: 402
    return redirect(ticket)


async def option(request):
    return HttpResponse(Settings.load("motd"))  # expect: 402


async def option_count(request):
    return HttpResponse(Settings.size())  # expect: 402


async def urgent(request):
    return HttpResponse(Ticket.objects.urgent_count())  # expect: 402


async def comments(request, pk):
    ticket = await Ticket.objects.select_related("team").aget(pk=pk)
    texts = [c.text for c in ticket.comments.all()]  # expect: 402
    ticket.watchers.set([1, 2])  # expect: 402
    return JsonResponse({"texts": texts})


async def listed(request):
    tickets = get_list_or_404(Ticket, closed=False)  # expect: 402
    return HttpResponse(len(tickets))


async def page(request):
    paginator = Paginator(Ticket.objects.all(), 20)
    page = paginator.get_page(request.GET.get("page"))  # expect: 402
    return HttpResponse(page.number)


async def raw(request):
    with connections["default"].cursor() as cursor:  # expect: 402
        cursor.execute("SELECT 1")
    return HttpResponse()


async def last_unpacked(request):
    first, *rest = Ticket.objects.order_by("pk")  # expect: 402
    return HttpResponse(first.title)


async def ternary(request):
    latest = Ticket.objects.latest("pk") if request.GET else None  # expect: 402
    return HttpResponse(latest.title)


async def membership(request, pk):
    comment = await Comment.objects.aget(pk=pk)
    return HttpResponse(comment in Comment.objects.filter(text=""))  # expect: 402


async def refresh(request, pk):
    ticket = Ticket(pk=pk)
    ticket.refresh_from_db()  # expect: 402
    return HttpResponse(ticket.title)


async def family(request, pk):
    ticket = await Ticket.objects.aget(pk=pk)
    return JsonResponse({"titles": [each.title for each in ticket.family()]})  # expect: 402


class TicketList(ListView):
    model = Ticket

    async def get(self, request, *args, **kwargs):
        queryset = self.get_queryset()
        return JsonResponse({"n": len(queryset)})  # expect: 402


class Api(View):
    queryset = Ticket.objects.open()

    async def get(self, request):
        for ticket in self.queryset.all():  # expect: 402
            log.debug(ticket.title)
        return HttpResponse()

    async def delete(self, request, pk):
        await self._remove(pk)
        return HttpResponse(status=204)

    async def _remove(self, pk):
        Ticket.objects.filter(pk=pk).delete()  # expect: 402


async def fine_queries(request, pk):
    ticket = await Ticket.objects.select_related("team").aget(pk=pk)
    newest = await Ticket.objects.anewest()
    comments = ticket.comments.filter(text__contains="a").order_by("pk")
    texts = [c.text async for c in comments]
    n = await Ticket.objects.open().acount()
    await ticket.watchers.aset([1])
    await ticket.aclose()
    found = await Ticket.objects.filter(pk__in=Comment.objects.values("ticket")).aexists()
    page = Paginator(texts, 10).get_page(1)
    ids = [pk async for pk in Ticket.objects.values_list("pk", flat=True)]
    if 3 in ids and texts and len(ids) and not found:
        log.info("%s", page.number)
    one = ids[0]
    return JsonResponse({"n": n, "team": ticket.team.name, "newest": newest and newest.title, "one": one})


def _summary(pk):
    ticket = Ticket.objects.get(pk=pk)
    return str(ticket), ticket.comments.count(), list(ticket.family())


async def fine_threads(request, pk):
    summary, n, _ = await sync_to_async(_summary)(pk)
    urgent = await sync_to_async(Ticket.objects.urgent_count)()
    motd = await sync_to_async(Settings.load, thread_sensitive=True)("motd")
    ticket = await sync_to_async(Ticket.objects.get, thread_sensitive=True)(pk=pk)
    await sync_to_async(ticket.close)()
    as_json = await sync_to_async(lambda: json.dumps(list(Ticket.objects.values())))()
    return JsonResponse({"summary": summary, "n": n, "urgent": urgent, "motd": motd, "json": as_json})


# ---------------------------------------------------------------- relations


async def team_of(request, pk):
    comment = await Comment.objects.select_related("ticket").aget(pk=pk)
    team = comment.ticket.team  # expect: 403
    return HttpResponse(team.name)


async def as_text(request, pk):
    ticket = await Ticket.objects.filter(pk=pk).afirst()
    return HttpResponse(f"{ticket}")  # expect: 403


async def authors(request):
    names = set()
    async for comment in Comment.objects.filter(ticket__closed=False).order_by("pk")[:10]:
        names.add(comment.author.username)  # expect: 403
    return JsonResponse(list(names), safe=False)


def _describe(comment):
    return {"text": comment.text, "by": comment.author.get_username()}


async def described(request, pk):
    comment = await Comment.objects.aget(pk=pk)
    return JsonResponse(_describe(comment))  # expect: 403


async def parent(request, pk):
    ticket = await Ticket.objects.aget(pk=pk)
    while ticket.parent is not None:  # expect: 403
        ticket = ticket.parent
    return HttpResponse(ticket.title)


async def fine_relations(request, pk):
    comment = await Comment.objects.select_related("ticket__team", "author").aget(pk=pk)
    ticket = Ticket(title="New", team=comment.ticket.team)
    query = Ticket.objects.prefetch_related(Prefetch("comments", Comment.objects.select_related("author")), "team")
    names = []
    async for each in query:
        names += [c.author.username for c in each.comments.all()]
        names.append(each.team.name)
    other = await Comment.objects.afirst()
    await models.aprefetch_related_objects([other], "author")
    third = await Comment.objects.alast()
    third.author = await sync_to_async(lambda: third.author)()
    return HttpResponse(ticket.team.name + comment.author.username + other.author.username + third.author.username)


# ---------------------------------------------------------------- who asks


@login_required
async def profile(request):
    return render(request, "profile.html", {"name": request.user.get_full_name()})  # expect: 404


@require_POST
@never_cache
async def comment(request, pk):
    created = await Comment.objects.acreate(ticket_id=pk, author=request.user, text="")  # expect: 404
    return JsonResponse({"pk": created.pk})


class Basket(View):
    async def post(self, request):
        basket = request.session.setdefault("basket", [])  # expect: 404
        basket.append(1)
        return HttpResponse()

    async def delete(self, request):
        del self.request.session["basket"]  # expect: 404
        return HttpResponse()


async def has_basket(request):
    if "basket" in request.session:  # expect: 404
        return HttpResponse("yes")
    return HttpResponse("no")


async def log_out(request):
    auth.logout(request)  # expect: 415
    return HttpResponse()


async def log_out_everywhere(request):
    request.session.flush()  # expect: 404
    return HttpResponse()


@method_decorator(never_cache, name="get")
class Me(View):
    async def get(self, request):
        return HttpResponse(self.name())  # expect: 404

    def name(self):
        return self.request.user.username if self.request.user.is_authenticated else "nobody"


async def fine_user(request):
    user = await request.auser()
    if user.is_anonymous:
        return redirect("/login/")
    request.user = user
    basket = await request.session.aget("basket", [])
    await Comment.objects.acreate(ticket_id=1, author=request.user, text=str(basket))
    return render(request, "me.html", {"user": user, "name": request.user.username})


async def password(request):
    user = await request.auser()
    if not check_password(request.POST["old"], user.password):  # expect: 415
        return HttpResponse(status=403)
    return HttpResponse()


async def notify(request):
    with mail.get_connection() as connection:
        message = mail.EmailMultiAlternatives("Subject", "Text", connection=connection)
        message.attach_alternative("<b>Text</b>", "text/html")
        message.send(fail_silently=True)  # expect: 415
    mail.mail_admins("Subject", "Text")  # expect: 415
    return HttpResponse()


async def attach(request, pk):
    ticket = await Ticket.objects.aget(pk=pk)
    ticket.attachment.save("a.txt", request.FILES["a"], save=False)  # expect: 415
    await ticket.asave()
    return HttpResponse(ticket.attachment.url)


async def counted(request):
    n = store.get_or_set("n", 1)  # expect: 415
    store.incr("n")  # expect: 415
    caches["default"].delete("x")  # expect: 415
    return HttpResponse(n)


# ---------------------------------------------------------------- templates, forms, transactions


async def rendered(request):
    template = loader.get_template("board.html")
    tickets = Ticket.objects.open()
    return HttpResponse(template.render({"tickets": tickets}, request))  # expect: 416


async def rendered_by_keyword(request):
    return render(request, template_name="b.html", context=dict(tickets=Ticket.objects.open()[:5]))  # expect: 416


async def rendered_well(request):
    tickets = [t async for t in Ticket.objects.open()]
    query = Ticket.objects.none()
    return render(request, "board.html", {"tickets": tickets, "n": len(tickets), "none": query})


async def edit(request, pk):
    ticket = await Ticket.objects.aget(pk=pk)
    form = TicketForm(request.POST or None, instance=ticket)
    valid = await sync_to_async(form.is_valid)()
    if valid:
        form.save()  # expect: 420
    return HttpResponse()


async def edit_all(request):
    formset = TicketFormSet(request.POST)
    return HttpResponse(formset.is_valid())  # expect: 420


async def moved(request, pk):
    async def move():
        with atomic(using="default"):  # expect: 406
            await Ticket.objects.filter(pk=pk).aupdate(priority=1)

    await move()
    return HttpResponse()


@atomic
def swap(a, b):
    Ticket.objects.filter(pk=a).update(priority=1)
    Ticket.objects.filter(pk=b).update(priority=2)


async def swapped(request):
    swap(1, 2)  # expect: 406
    return HttpResponse()


async def swapped_well(request):
    await sync_to_async(swap)(1, 2)
    return HttpResponse()


# ---------------------------------------------------------------- coroutines and threads


async def _audit(text):
    await Comment.objects.acreate(text=text, ticket_id=1, author_id=1)


async def not_awaited(request):
    _audit("seen")  # expect: 405
    return HttpResponse()


async def counted_wrongly(request):
    n = Ticket.objects.acount()  # expect: 405
    return HttpResponse(f"{n} tickets")


async def compared(request):
    if Ticket.objects.acount() > 5:  # expect: 405
        return HttpResponse("many")
    return HttpResponse("few")


async def in_json(request):
    return JsonResponse({"n": Ticket.objects.acount()})  # expect: 405


async def user_not_awaited(request):
    user = request.auser()  # expect: 405
    return HttpResponse(user.username)


async def awaited_later(request):
    coroutines = []
    for text in ("a", "b"):
        coroutines.append(_audit(text))
    await asyncio.gather(*coroutines)
    pending = _audit("c")
    await asyncio.wait_for(pending, 3)
    async with asyncio.timeout(3):
        await _audit("d")
    return HttpResponse()


async def bridged(request):
    result = async_to_sync(_audit)("x")  # expect: 412
    return HttpResponse(result)


def _run(text):
    return asyncio.run(_audit(text))


async def bridged_in_helper(request):
    return HttpResponse(_run("x"))  # expect: 412


def _count_team(name):
    return Team.objects.filter(name=name).count()


async def in_executor(request):
    loop = asyncio.get_running_loop()
    n = await loop.run_in_executor(None, _count_team, "a")  # expect: 408
    m = await loop.run_in_executor(None, functools.partial(_count_team, "b"))  # expect: 408
    return HttpResponse(n + m)


@sync_to_async(thread_sensitive=False)
def _teams():
    return list(Team.objects.all())


async def decorated_thread(request):
    teams = await _teams()  # expect: 408
    return HttpResponse(len(teams))


async def lazily(request):
    get_tickets = sync_to_async(Ticket.objects.open)
    tickets = await get_tickets()  # expect: 409
    return HttpResponse(len(tickets))


@sync_to_async
def _open_of(team):
    return Ticket.objects.filter(team=team)


async def lazily_decorated(request, pk):
    for ticket in await _open_of(pk):  # expect: 409
        log.info(ticket.title)
    return HttpResponse()


async def background(request):
    task = asyncio.get_running_loop().create_task(_audit("later"))  # expect: 413
    return HttpResponse()


async def parallel(request):
    result = await asyncio.gather(*[Ticket.objects.filter(pk=pk).aexists() for pk in (1, 2)])  # expect: 417
    return HttpResponse(result)


async def swallowed(request):
    with contextlib.suppress(Exception):
        await asyncio.sleep(1)
    while True:
        try:
            await asyncio.sleep(1)
        except BaseException as error:  # expect: 414
            log.error(error)


async def events(request):
    def lines():
        for n in range(3):
            yield f"data: {n}\n\n"
            clock.sleep(1)

    return StreamingHttpResponse(lines(), content_type="text/event-stream")  # expect: 407


async def exported(request):
    rows = (f"{ticket.pk}\n" for ticket in [1, 2])
    return StreamingHttpResponse(streaming_content=rows)  # expect: 407


async def events_well(request):
    async def lines():
        async for ticket in Ticket.objects.all():
            yield ticket.title
            await asyncio.sleep(1)

    return StreamingHttpResponse(lines())
