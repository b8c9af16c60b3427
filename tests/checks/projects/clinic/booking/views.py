from asgiref.sync import async_to_sync, sync_to_async
from django import forms
from django.contrib.auth import aauthenticate
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin, UserPassesTestMixin
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control, cache_page, never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET
from django.views.generic import FormView, ListView, TemplateView

from booking import decorators, mixins, services
from booking.middleware import with_occupancy
from booking.models import Appointment

# Decorators that don't know asynchronous views


@decorators.timed
async def overview(request):  # expect: 301
    return HttpResponse("overview")


@decorators.counted
@decorators.audited("list")
async def letters(request):  # expect: 301
    return HttpResponse("letters")


@decorators.Throttle
async def search(request):  # expect: 301
    return HttpResponse("search")


@never_cache
@decorators.counted
async def counted(request):
    return HttpResponse("counted")


@decorators.in_a_thread
async def in_a_thread(request):
    return HttpResponse("in a thread")


@decorators.with_own_loop
async def with_own_loop(request):
    return HttpResponse("with its own loop")


@decorators.passing
async def passing(request):
    return HttpResponse("passing")


@decorators.timed
def timed(request):
    return HttpResponse("timed")


# Transactions


@transaction.atomic
async def book(request):  # expect: 304
    await Appointment.objects.acreate(patient="Ada")
    return HttpResponse("booked")


class Cancel(View):
    @transaction.atomic(using="default")
    async def post(self, request):  # expect: 304
        await Appointment.objects.aupdate(is_cancelled=True)
        return HttpResponse("cancelled")


@method_decorator(transaction.atomic, name="dispatch")
class Move(View):  # expect: 304
    async def get(self, request):
        return HttpResponse("moved")


@transaction.atomic
def book_now(request):
    Appointment.objects.create(patient="Ada")
    return HttpResponse("booked")


async def swap(request):
    await services.swap_in_thread(1, 2)
    return HttpResponse("swapped")


# Who may come in


class Profile(LoginRequiredMixin, View):  # expect: 305
    async def get(self, request):
        return HttpResponse("profile")


class Prescriptions(PermissionRequiredMixin, View):  # expect: 305
    permission_required = "booking.change_appointment"

    async def get(self, request):
        return HttpResponse("prescriptions")


class Invoices(mixins.TenantMixin, View):  # expect: 305
    async def get(self, request):
        return HttpResponse("invoices")


class Ward(View):
    def dispatch(self, request, *args, **kwargs):  # expect: 305
        if not self.request.user.is_staff:
            return HttpResponse("staff only", status=403)
        return super().dispatch(request, *args, **kwargs)

    async def get(self, request):
        return HttpResponse("ward")


class SyncProfile(LoginRequiredMixin, View):
    def get(self, request):
        return HttpResponse("profile")


class AsyncProfile(mixins.AsyncLoginRequiredMixin, View):
    async def get(self, request):
        return HttpResponse("profile")


class Stamped(mixins.StampMixin, View):
    async def get(self, request):
        return HttpResponse("stamped")


class Open(View):
    async def get(self, request):
        return HttpResponse("open")


@method_decorator(login_required, name="get")
class OnHandler(View):
    async def get(self, request):
        return HttpResponse("on the handler")


class EuropeOnly(UserPassesTestMixin, View):
    """The test reads a header only, and to fail it is an exception: nothing here needs the user."""

    raise_exception = True

    def test_func(self):
        return self.request.headers.get("X-Continent", "EU") == "EU"

    async def get(self, request):
        return HttpResponse("Europe")


# Decorators on dispatch()


@method_decorator(login_required, name="dispatch")
class Account(View):  # expect: 306
    async def get(self, request):
        return HttpResponse("account")


@method_decorator([csrf_exempt, cache_control(private=True)], name="dispatch")
class Documents(View):  # expect: 306
    async def get(self, request):
        return HttpResponse("documents")


class Export(View):
    @method_decorator(require_GET)
    def dispatch(self, request, *args, **kwargs):  # expect: 306
        return super().dispatch(request, *args, **kwargs)

    async def get(self, request):
        return HttpResponse("export")

    async def post(self, request):
        return HttpResponse("import")


@method_decorator(decorators.audited("labs"), name="dispatch")
class Labs(View):  # expect: 306
    async def get(self, request):
        return HttpResponse("labs")


@method_decorator(csrf_exempt, name="dispatch")
class Webhook(View):
    async def post(self, request):
        return HttpResponse("thanks")


@method_decorator([decorators.timed, csrf_exempt], name="dispatch")
class TimedWebhook(View):
    async def get(self, request):
        return HttpResponse("thanks")


@method_decorator(never_cache, name="dispatch")
class SyncAccount(View):
    def get(self, request):
        return HttpResponse("account")


# Answers to other methods


class Slots(mixins.JsonErrorsMixin, View):
    async def get(self, request):
        return JsonResponse({"slots": []})


class Options(View):
    async def get(self, request):
        return HttpResponse("get")

    def options(self, request, *args, **kwargs):  # expect: 307
        response = super().options(request, *args, **kwargs)
        response["X-Version"] = "2"
        return response


class GoodOptions(View):
    async def get(self, request):
        return HttpResponse("get")

    async def options(self, request, *args, **kwargs):
        response = await super().options(request, *args, **kwargs)
        response["X-Version"] = "2"
        return response

    def http_method_not_allowed(self, request, *args, **kwargs):
        return super().http_method_not_allowed(request, *args, **kwargs)


class SyncOptions(mixins.JsonErrorsMixin, View):
    def get(self, request):
        return HttpResponse("get")


# Asynchronous hooks of synchronous views


class Home(TemplateView):
    template_name = "booking/fine.html"

    async def get_context_data(self, **kwargs):  # expect: 308
        return {"count": await Appointment.objects.acount()}


class Appointments(ListView):
    template_name = "booking/list.html"

    async def get_queryset(self):  # expect: 308
        return Appointment.objects.all()


class StaffArea(UserPassesTestMixin, TemplateView):
    template_name = "booking/fine.html"

    async def test_func(self):  # expect: 308
        return False


class ContactForm(forms.Form):
    text = forms.CharField(required=False)


class Contact(FormView):
    form_class = ContactForm
    template_name = "booking/fine.html"
    success_url = "/"

    async def form_valid(self, form):  # expect: 308
        return HttpResponse("sent")


class Dispatched(View):
    async def dispatch(self, request, *args, **kwargs):  # expect: 308
        return super().dispatch(request, *args, **kwargs)

    def get(self, request):
        return HttpResponse("dispatched")


class OwnHooks(TemplateView):
    template_name = "booking/fine.html"

    def get(self, request):
        context = async_to_sync(self.get_context_data)()
        async_to_sync(self.load_more)()
        return render(request, self.template_name, context)

    async def get_context_data(self, **kwargs):
        return {"count": await Appointment.objects.acount()}

    async def load_more(self):
        return []


class AsyncList(ListView):
    async def get(self, request):
        queryset = await self.get_queryset()
        return HttpResponse(str(await queryset.acount()))

    async def get_queryset(self):
        return Appointment.objects.all()


# Caches, and middleware as decorators


@cache_page(60)
async def timetable(request):  # expect: 310
    return HttpResponse("timetable")


async def prices(request):  # expect: 310
    return HttpResponse("prices")


@cache_page(60)
def sync_timetable(request):
    return HttpResponse("timetable")


@with_occupancy
async def occupancy(request):  # expect: 311
    return HttpResponse("occupancy")


@csrf_protect
async def protected(request):  # expect with settings_pages: 311
    return HttpResponse("protected")


@gzip_page
async def zipped(request):
    return HttpResponse("zipped")


@with_occupancy
def sync_occupancy(request):
    return HttpResponse("occupancy")


# Asynchronous wrappers


@decorators.logged
def history(request):  # expect: 313
    return HttpResponse(str(Appointment.objects.count()))


@decorators.guarded("not you")
def archive(request):  # expect: 313
    return HttpResponse(str(Appointment.objects.count()))


@decorators.threaded
def threaded(request):
    return HttpResponse(str(Appointment.objects.count()))


@decorators.either
def either(request):
    return HttpResponse(str(Appointment.objects.count()))


@sync_to_async
def bridged(request):
    return HttpResponse(str(Appointment.objects.count()))


# Templates


def home(request):
    return render(request, "booking/home.html")


def tags(request):
    return render(request, "booking/tags.html")


def plain(request):
    return HttpResponse("plain")


async def failing(request):
    return 1 / 0


async def log_in(request):
    user = await aauthenticate(request, username=request.GET["name"], password="secret")
    return HttpResponse(user.username if user else "nobody")


def login(request):
    return HttpResponse("please")


# The same, written otherwise


class Ledger(View):
    """Wrapped in the URLconf, by a decorator that passes the coroutine on: functools.wraps() has marked the wrapper."""

    async def get(self, request):
        return HttpResponse("ledger")


class Journal(View):  # expect: 301
    """By one that doesn't."""

    async def get(self, request):
        return HttpResponse("journal")


@method_decorator(transaction.atomic, name="post")
class Refund(View):
    async def post(self, request):  # expect: 304
        await Appointment.objects.aupdate(is_cancelled=True)
        return HttpResponse("refunded")


class Results(View):
    @method_decorator(decorators.audited("results"))
    async def get(self, request):  # expect: 301
        return HttpResponse("results")


class Referrals(View):
    @method_decorator(cache_page(60))
    async def get(self, request):  # expect: 310
        return HttpResponse("referrals")


class Counted(View):
    @method_decorator(decorators.counted)
    async def get(self, request):
        return HttpResponse("counted")


class Rota(View):
    def setup(self, request, *args, **kwargs):  # expect: 305
        super().setup(request, *args, **kwargs)
        self.is_own = request.user == self.kwargs.get("doctor")

    async def get(self, request):
        return HttpResponse("rota")


class Surgery(View):
    async def get(self, request):
        return HttpResponse("surgery")


class Lab(mixins.RoleMixin, Surgery):  # expect: 305
    async def get(self, request):
        return HttpResponse("lab")


class Page(View):
    template_name = "booking/fine.html"

    def get(self, request):
        return render(request, self.template_name, {"heading": self.heading().upper()})

    def heading(self):
        return "clinic"


class Opening(Page):
    async def heading(self):  # expect: 308
        return "opening hours"


def everything(*args, **kwargs):
    return HttpResponse("everything")


async def all_doctors():
    return HttpResponse("all")
