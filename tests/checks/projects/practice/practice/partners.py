import tinywire
from asgiref.sync import sync_to_async
from django.http import JsonResponse
from tinywire import Client, settle

_bank = Client("bank.example")


async def fetch(request):
    text = tinywire.fetch("partner.example")  # expect: 401
    settle(0.5)  # expect: 401
    return JsonResponse({"text": text})


async def pay(request):
    receipt = _bank.charge(100)  # expect: 401
    other = tinywire.connect("shop.example").charge(5)  # expect: 401
    return JsonResponse({"receipt": receipt.hex(), "other": other.hex()})


async def fine(request):
    text = await tinywire.afetch("https://a.example")  # fine
    known = tinywire.cached("https://b.example")  # fine: nobody knows
    maybe = tinywire.maybe("https://c.example")  # fine: a dry run
    await sync_to_async(tinywire.fetch)("d.example")  # fine
    name = _bank.describe()  # fine
    await _bank.acharge(5)  # fine
    return JsonResponse({"text": text, "known": known, "maybe": maybe, "name": name, "slug": tinywire.slug("a/b")})
