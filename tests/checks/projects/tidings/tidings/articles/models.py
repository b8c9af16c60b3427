from __future__ import annotations

from functools import cached_property

from django.conf import settings
from django.db import models
from django.urls import reverse

from .managers import ArticleManager, DeskManager


class Section(models.Model):
    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=80)

    def __str__(self):
        return self.title


class Author(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="byline")
    section = models.ForeignKey(Section, on_delete=models.SET_NULL, null=True)
    pen_name = models.CharField(max_length=80)


class Tag(models.Model):
    word = models.CharField(max_length=40)


class Article(models.Model):
    slug = models.SlugField(unique=True)
    headline = models.CharField(max_length=200)
    body = models.TextField()
    views = models.PositiveIntegerField(default=0)
    published_at = models.DateTimeField(null=True)
    section = models.ForeignKey(Section, on_delete=models.PROTECT, related_name="articles")
    author = models.ForeignKey(Author, on_delete=models.PROTECT, related_name="articles")
    tags = models.ManyToManyField(Tag, related_name="articles")

    objects = ArticleManager()
    desk = DeskManager()

    def __str__(self):
        return self.headline

    def get_absolute_url(self):
        return reverse("article", args=[self.slug])

    @property
    def byline(self) -> str:
        return f"by {self.author.pen_name}"  # expect: 403

    @cached_property
    def comment_total(self) -> int:
        return self.comments.count()  # expect: 402

    @property
    def teaser(self) -> str:
        return self.body[:140]

    def bump(self):
        self.views += 1
        self.save(update_fields=["views"])  # expect: 402


class Comment(models.Model):
    article = models.ForeignKey(Article, on_delete=models.CASCADE, related_name="comments")
    member = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    text = models.TextField()
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE)


class Photo(models.Model):
    article = models.OneToOneField(Article, on_delete=models.CASCADE, related_name="lead_photo")
    image = models.FileField(upload_to="photos")
    credit = models.CharField(max_length=80)
