from __future__ import annotations

import asyncio
import time
from operator import attrgetter

from asgiref.sync import sync_to_async
from django.db.models import F, Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import aget_object_or_404, get_object_or_404, render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.views import View

from .. import selectors
from ..models import Article, Author, Comment, Section, Tag
from ..selectors import acounts, front_page, most_read as read_most


async def front(request: HttpRequest) -> HttpResponse:
    articles = front_page()  # fine: lazy
    counts = await acounts()
    return render(request, "front.html", {"articles": articles, "counts": counts})  # expect: 416


async def most_read_json(request):
    rows = [{"headline": a.headline, "url": a.get_absolute_url()} for a in read_most(limit=10)]
    return JsonResponse({"rows": rows})


async def headline_of_the_day(request):
    return HttpResponse(Article.objects.newest_headline())


async def author_page(request, pk: int):
    author = await aget_object_or_404(Author, pk=pk)
    if author.user_id is None:  # fine: column
        raise Http404
    articles = [a async for a in author.articles.all()]
    name = author.user.get_full_name()  # expect: 403
    return JsonResponse({"name": name, "articles": [a.headline for a in articles]})


async def article_json(request, slug):
    article = Article.objects.by_slug(slug)
    article.bump()
    return JsonResponse({"headline": article.headline, "comments": article.comment_total})


async def printable(request, slug):
    if (article := await Article.objects.filter(slug=slug).afirst()) is None:
        raise Http404(slug)
    section = article.section.title  # fine: the default manager selects it
    credit = article.lead_photo.credit  # expect: 403
    html = render_to_string("print.html", {"article": article, "section": section, "credit": credit})
    return HttpResponse(html + article.byline)


async def compare(request, left: str, right: str):
    one, two = await asyncio.gather(  # expect: 417
        Article.objects.aget(slug=left),
        Article.objects.aget(slug=right),
    )
    return JsonResponse({"same": one.section_id == two.section_id, "teasers": [one.teaser, two.teaser]})


async def search(request):
    words = request.GET.get("q", "").split()
    query = Q()
    for word in words:
        query |= Q(headline__icontains=word)
    hits = Article.objects.filter(query).order_by("-published_at")
    match request.GET.get("as"):
        case "count":
            return JsonResponse({"count": hits.count()})  # expect: 402
        case "any":
            return JsonResponse({"any": bool(hits)})  # expect: 402
        case "first":
            first = hits[0]  # expect: 402
            return JsonResponse({"headline": first.headline})
        case "page":
            page = hits[:20]
            return JsonResponse({"hits": [hit.headline async for hit in page]})
    return TemplateResponse(request, "search.html", {"hits": hits})  # fine: rendered in a thread


async def tag_cloud(request):
    words = ", ".join(Tag.objects.values_list("word", flat=True))  # expect: 402
    known = {t.pk: t async for t in Tag.objects.all()}
    biggest = max(known.values(), key=attrgetter("pk"), default=None)
    return JsonResponse({"words": words, "biggest": biggest and biggest.word})


async def breaking(request):
    """Long poll: waits until something new is there."""
    since = request.GET.get("since")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if await Article.objects.filter(published_at__gt=since).aexists():
            break
        await asyncio.sleep(1)
    else:
        return HttpResponse(status=204)
    newest = Article.objects.anewest()  # expect: 405
    return JsonResponse({"headline": newest.headline})


async def archive(request):
    months = await selectors.archive_months()
    newest = await sync_to_async(Article.objects.newest_headline)()
    total = await sync_to_async(lambda: Article.objects.count())()
    return JsonResponse({"months": [str(m) for m in months], "newest": newest, "total": total})


async def latest_per_section(request):
    found = {}
    async for section in Section.objects.all():
        newest = await section.articles.order_by("-published_at").afirst()
        if not newest:
            continue
        found[section.slug] = newest.author.pen_name  # expect: 403
    return JsonResponse(found)


class SectionIndex(View):
    template_name = "section.html"
    page_size = 30

    async def get(self, request, slug):
        section = selectors.section_or_none(slug)
        if section is None:
            raise Http404
        articles = await self.load(section)
        return render(request, self.template_name, {"section": section, "articles": articles})  # fine: a list

    async def load(self, section):
        chosen = Article.objects.filter(section=section)[: self.page_size]
        return [article async for article in chosen]


class ArticleDetail(View):
    async def get(self, request, slug):
        article = await self.find(slug)
        comments = selectors.threaded_comments(article)
        tree = [await self.as_dict(c) async for c in comments]
        await Article.objects.filter(pk=article.pk).aupdate(views=F("views") + 1)
        return JsonResponse({"article": article.headline, "by": article.author.pen_name, "comments": tree})

    async def post(self, request, slug):
        article = get_object_or_404(Article, slug=slug)  # expect: 402
        user = await request.auser()
        comment = Comment(article=article, member=user, text=request.POST["text"])
        comment.save()  # expect: 402
        return JsonResponse({"id": comment.pk, "on": comment.article.headline}, status=201)  # fine: just set

    async def find(self, slug):
        return await Article.objects.select_related("author", "section").aget(slug=slug)

    async def as_dict(self, comment):
        return {"text": comment.text, "by": comment.member.get_username(), "answers": len(comment.answers)}  # fine
