"""Read side. Functions here are plain Django and used by the admin, by commands and (some) by async views."""

from __future__ import annotations

import typing as t

from asgiref.sync import sync_to_async
from django.db.models import Count, Prefetch, QuerySet

from .models import Article, Comment, Section

if t.TYPE_CHECKING:
    from django.http import HttpRequest


def front_page(limit: int = 12) -> QuerySet[Article]:
    return Article.objects.published().order_by("-published_at")[:limit]


def most_read(limit=5):
    return list(Article.objects.order_by("-views")[:limit])  # expect: 402


def section_or_none(slug: str) -> Section | None:
    try:
        return Section.objects.get(slug=slug)  # expect: 402
    except Section.DoesNotExist:
        return None


def section_counts() -> dict[str, int]:
    rows = Section.objects.annotate(n=Count("articles"))
    return {row.slug: row.n for row in rows}  # fine: only called in a thread


def threaded_comments(article: Article):
    return (
        Comment.objects.filter(article=article)
        .select_related("member")
        .prefetch_related(Prefetch("comment_set", to_attr="answers"))
    )


@sync_to_async
def archive_months():
    return [month for month in Article.objects.dates("published_at", "month")]  # fine


acounts = sync_to_async(section_counts)


def wants_print(request: HttpRequest) -> bool:
    return request.GET.get("print") == "1"
