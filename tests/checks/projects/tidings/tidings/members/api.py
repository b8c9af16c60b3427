"""JSON for the app."""

import asyncio
import functools
import json
from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.contrib.auth import aauthenticate, alogin, authenticate, get_user_model, login
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse, JsonResponse
from django.views import View

from .models import Basket, Cached, Membership, Plan

User = get_user_model()


def api(*methods):
    """Only these methods, JSON in and out."""

    def decorate(view):
        @functools.wraps(view)
        async def wrapper(request, *args, **kwargs):
            if request.method not in methods:
                return HttpResponse(status=HTTPStatus.METHOD_NOT_ALLOWED)
            try:
                return JsonResponse(await view(request, *args, **kwargs))
            except KeyError as error:
                return JsonResponse({"missing": str(error)}, status=400)

        return wrapper

    return decorate


@api("POST")
async def sign_in(request):
    user = authenticate(request, username=request.POST["name"], password=request.POST["password"])  # expect: 415
    if user is None:
        return {"ok": False}
    login(request, user)  # expect: 415
    return {"ok": True}


@api("POST")
async def sign_in_properly(request):
    if user := await aauthenticate(request, username=request.POST["name"], password=request.POST["password"]):
        await alogin(request, user)
    return {"ok": bool(user)}


@api("POST")
async def register(request):
    data = json.loads(request.body)
    user = User(username=data["name"], password=make_password(data["password"]))  # expect: 415
    await user.asave()
    again = await User.objects.acreate_user(data["name"] + "2", password=data["password"])  # expect: 415
    return {"id": user.pk, "second": again.pk}


@api("GET")
async def profile(request):
    if not request.user.is_authenticated:  # expect: 404
        return {}
    membership = await Membership.objects.select_related("plan").aget(member_id=1)
    return {"plan": membership.plan.name, "until": str(membership.until)}


@api("GET", "POST")
async def settings_of_member(request):
    theme = request.session.get("theme", "light")  # expect: 404
    user = await request.auser()
    await request.session.aset("theme", theme)
    name = user.username
    return {"theme": theme, "name": name, "plan": user.membership.plan.name}  # expect: 403


@api("GET")
async def basket(request):
    mine = Basket(request.GET.getlist("line"))
    mine.save()  # fine: not a model
    Cached.objects.delete()  # fine
    mine.refresh_from_db()
    return {"lines": mine.count(), "first": mine.first()}


@api("GET")
async def plans(request):
    rows = await sync_to_async(list)(Plan.objects.all())
    cheap = sorted(rows, key=lambda plan: plan.price)
    names = [plan.name for plan in cheap]  # fine: a list
    if len(rows) and rows[0]:
        names.append(str(len(rows)))
    members = await sync_to_async(Membership.objects.filter)(plan__in=rows)  # expect: 409
    return {"names": names, "members": [m.pk for m in members]}


@api("GET")
async def totals(request):
    counted = await asyncio.gather(  # expect: 417
        Plan.objects.acount(), Membership.objects.acount(), User.objects.acount()
    )
    sums = dict(zip(("plans", "members", "users"), counted, strict=True))
    return sums


@api("DELETE")
async def leave(request):
    user = await request.auser()
    Membership.objects.filter(member=user).adelete()  # expect: 405
    user.delete()  # expect: 402
    return {"left": True}


@api("GET")
async def plan_by_name(request):
    plan, created = Plan.objects.get_or_create(name=request.GET["name"])  # expect: 402
    try:
        membership = plan.membership_set.latest("until")  # expect: 402
    except Membership.DoesNotExist:
        membership = None
    return {"created": created, "latest": membership and membership.pk}


def legacy_profile(request):
    return JsonResponse({"name": request.user.get_username(), "n": Plan.objects.count()})  # fine: sync view


class PriceList(View):
    cache: dict[int, str] = {}

    async def get(self, request):
        plans = {plan.pk: plan async for plan in Plan.objects.all()}
        first = next(iter(plans.values()), None)
        if first is not None and check_password("x", first.name):  # expect: 415
            self.cache.get(first.pk)  # fine: a dict
            self.cache.setdefault(first.pk, first.name)
        return JsonResponse({pk: str(plan.price) for pk, plan in plans.items()})
