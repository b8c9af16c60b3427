from asgiref.sync import sync_to_async
from django.contrib.auth import authenticate, aauthenticate, alogin, get_user_model, login
from django.contrib.auth.hashers import make_password
from django.core.cache import cache, caches
from django.core.files.storage import default_storage
from django.core.mail import EmailMessage, send_mail
from django.http import HttpResponse, JsonResponse
from django.views import View

from library.forms import BookForm, ContactForm, SearchForm
from library.models import Loan

User = get_user_model()


async def greeting(request):
    if request.user.is_authenticated:  # expect: 404
        return HttpResponse(f"Hello {request.user.username}")
    return HttpResponse("Hello")


class Loans(View):
    async def get(self, request):
        user = self.request.user
        return HttpResponse(user.email)  # expect: 404


async def own_loans(request):
    n = await Loan.objects.filter(reader=request.user).acount()  # expect: 404
    return JsonResponse({"n": n})


async def counter(request):
    request.session["visits"] = 1  # expect: 404
    return HttpResponse("counted")


async def last(request):
    return HttpResponse(request.session.get("last"))  # expect: 404


def who(request):
    return request.user.get_username()


async def helper(request):
    return HttpResponse(who(request))  # expect: 404


async def sign_in(request):
    user = authenticate(request, username="a", password="b")  # expect: 415
    login(request, user)  # expect: 415
    return HttpResponse("in")


async def letter(request):
    send_mail("Due", "Bring it back", None, ["reader@example.com"])  # expect: 415
    return HttpResponse("sent")


async def message(request):
    mail = EmailMessage("Due", "Bring it back", to=["reader@example.com"])
    mail.attach("a.txt", "a")
    mail.send()  # expect: 415
    return HttpResponse("sent")


async def upload(request):
    default_storage.save("cover.png", request.FILES["cover"])  # expect: 415
    return HttpResponse("saved")


async def from_cache(request):
    return HttpResponse(cache.get("books"))  # expect: 415


async def to_table(request):
    caches["table"].set("books", 1)  # expect: 415
    return HttpResponse("set")


async def local_cache(request):
    return HttpResponse(caches["local"].get("books"))  # expect: 415


async def hash_password(request):
    return HttpResponse(make_password("secret"))  # expect: 415


async def new_password(request):
    user = await request.auser()
    user.set_password("secret")  # expect: 415
    await user.asave()
    return HttpResponse("changed")


async def check(request):
    user = await User.objects.aget(username="a")
    return HttpResponse(str(user.check_password("secret")))  # expect: 415


async def register(request):
    user = await User.objects.acreate_user("reader", password="secret")  # expect: 415
    return HttpResponse(user.username)


async def permissions(request):
    user = await request.auser()
    return HttpResponse(str(user.has_perm("library.add_book")))  # expect: 402


async def add_book(request):
    form = BookForm(request.POST)
    if form.is_valid():  # expect: 420
        return HttpResponse("fine")
    return HttpResponse("not fine")


class Contact(View):
    async def post(self, request):
        form = ContactForm(request.POST)
        return HttpResponse(str(form.is_valid()))  # expect: 420


# All well below.


async def awaited(request):
    user = await request.auser()
    visits = await request.session.aget("visits", 0)
    await request.session.aset("visits", visits + 1)
    await cache.aset("visits", visits)
    return HttpResponse(f"{user.username} {user.is_authenticated}")


async def loaded_session(request):
    await request.auser()
    return HttpResponse(request.session.get("last"))


async def own_user(request):
    request.user = await request.auser()
    return HttpResponse(request.user.username)


async def sign_in_well(request):
    user = await aauthenticate(request, username="a", password="b")
    if user is not None and await user.acheck_password("b"):
        await alogin(request, user)
    await sync_to_async(send_mail)("Due", "Bring it back", None, ["reader@example.com"])
    mail = EmailMessage("Due", "Bring it back")
    await sync_to_async(mail.send)()
    return HttpResponse("in")


async def search(request):
    form = SearchForm(request.GET)
    if form.is_valid():
        return HttpResponse(form.cleaned_data["q"])
    book = BookForm(request.POST)
    return HttpResponse(str(await sync_to_async(book.is_valid)()))


def synchronous(request):
    cache.set("user", request.user.username)
    request.session["a"] = 1
    return HttpResponse(str(BookForm(request.POST).is_valid()))


class Fake:
    user = "nobody"
    session = {}


async def other_request():
    request = Fake()
    request.session["a"] = 1
    return request.user.upper()
