"""The editors' side."""

import hashlib
import logging
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import lru_cache, partial, wraps
from pathlib import Path

import requests
from asgiref.sync import async_to_sync, sync_to_async
from django import forms
from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views.generic import View

from ..models import Article, Author, Photo
from ..services import indexing as index
from ..services.clients import WireClient, pressroom

log = logging.getLogger(__name__)
_publishing = threading.Lock()


class ArticleForm(forms.ModelForm):
    class Meta:
        model = Article
        fields = ["headline", "body", "section", "tags"]


class SearchForm(forms.Form):
    q = forms.CharField()


def editors_only(view):
    @wraps(view)
    async def inner(request, *args, **kwargs):
        user = await request.auser()
        if not user.is_staff:
            return HttpResponse(status=403)
        return await view(request, *args, **kwargs)

    return inner


@editors_only
async def republish(request, pk):
    async with transaction.atomic():  # expect: 406
        article = await Article.desk.aget(pk=pk)
        article.published_at = None
        await article.asave()
    return HttpResponse(status=204)


@editors_only
async def retitle(request, pk):
    article = await Article.desk.aget(pk=pk)
    article.headline = request.POST["headline"]
    article.asave(update_fields=["headline"])  # expect: 405
    await sync_to_async(article.refresh_from_db)()
    pressroom.announce(article.headline)
    return HttpResponse(article.section.title)  # expect: 403


@editors_only
async def bulk_publish(request):
    ids = request.POST.getlist("id")
    with _publishing:  # expect: 419
        changed = await Article.desk.filter(pk__in=ids).aupdate(published_at=request.POST["when"])
    if not changed:
        return HttpResponse(status=409)
    with transaction.atomic():  # expect: 406
        await Article.desk.filter(pk__in=ids).aupdate(views=0)
    index.rebuild(ids)
    return JsonResponse({"changed": changed})


class EditorMixin:
    wire = WireClient("https://wire.example")
    form_class = ArticleForm

    async def editor(self):
        user = await self.request.auser()
        return await Author.objects.select_related("section").aget(user=user)

    def spellcheck(self, text):
        done = subprocess.run(["hunspell", "-l"], input=text, capture_output=True, text=True)  # expect: 401
        return done.stdout.split()


class ArticleEdit(EditorMixin, View):
    async def get(self, request, pk):
        article = await Article.objects.aget(pk=pk)
        form = await sync_to_async(self.form_class)(instance=article)
        return await sync_to_async(render)(request, "edit.html", {"form": form, "all": Author.objects.all()})  # fine

    async def post(self, request, pk):
        article = await Article.objects.aget(pk=pk)
        form = self.form_class(request.POST, instance=article)
        if not form.is_valid():  # expect: 420
            return render(request, "edit.html", {"errors": form.errors, "words": self.spellcheck(article.body)})
        saved = await sync_to_async(form.save)()  # fine
        source = self.wire.lookup(saved.slug)
        me = await self.editor()
        if me.section and me.section.slug == "sport":  # fine: selected
            log.info("sport")
        return JsonResponse({"source": source})

    async def delete(self, request, pk):
        article = await Article.objects.aget(pk=pk)
        article.delete()  # expect: 402
        return HttpResponse(status=204)


class PhotoUpload(View):
    executor = ThreadPoolExecutor(2)

    async def post(self, request, slug):
        upload = request.FILES["image"]
        name = default_storage.save(f"photos/{upload.name}", upload)  # expect: 415
        digest = await self.digest(upload.temporary_file_path())
        article = await Article.objects.aget(slug=slug)
        photo = await Photo.objects.acreate(article=article, image=name, credit=digest)
        head = Path(f"/srv/photos/{name}").read_bytes()[:16]  # expect: 401
        return JsonResponse({"photo": photo.pk, "credit": photo.article.headline, "head": head.hex()})

    async def digest(self, path):
        import asyncio

        def work():
            with open(path, "rb") as stream:  # fine: runs in the executor
                return hashlib.sha256(stream.read()).hexdigest()

        return await asyncio.get_running_loop().run_in_executor(self.executor, work)


@method_decorator(login_required, name="get")
class DeskBoard(View):
    """What is waiting. The counts come from four places."""

    async def get(self, request):
        mine = Article.desk.filter(author__user=request.user.pk)  # expect: 404
        waiting = await mine.filter(published_at=None).acount()
        request.session["board"] = waiting  # fine: login_required has loaded the session
        weather = await self.weather()
        return JsonResponse({"waiting": waiting, "weather": weather, "agenda": self.agenda()})

    async def weather(self):
        with closing(requests.Session()) as http:
            answer = http.get("https://weather.example/today", timeout=3)  # expect: 401
        return answer.json()

    @staticmethod
    @lru_cache(maxsize=16)
    def agenda():
        return tuple(range(8, 20))
