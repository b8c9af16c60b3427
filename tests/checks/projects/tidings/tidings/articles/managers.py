from __future__ import annotations

from django.db import models
from django.utils import timezone


class ArticleQuerySet(models.QuerySet):
    def published(self):
        return self.filter(published_at__lte=timezone.now())

    def in_section(self, slug: str):
        return self.filter(section__slug=slug)

    def newest_headline(self) -> str:
        article = self.published().order_by("-published_at").first()  # expect: 402
        return article.headline if article else ""

    async def anewest(self):
        return await self.published().order_by("-published_at").afirst()


class ArticleManager(models.Manager.from_queryset(ArticleQuerySet)):
    def get_queryset(self):
        return super().get_queryset().select_related("section")

    def by_slug(self, slug):
        return self.get(slug=slug)  # expect: 402


class DeskManager(models.Manager):
    """Plain Django; the lookups are in selectors."""
