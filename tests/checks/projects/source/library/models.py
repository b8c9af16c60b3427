from django.contrib.auth.models import User
from django.db import models


class Publisher(models.Model):
    name = models.CharField(max_length=80)


class Author(models.Model):
    name = models.CharField(max_length=80)
    publisher = models.ForeignKey(Publisher, models.CASCADE)


class BookQuerySet(models.QuerySet):
    def available(self):
        return self.filter(copies__gt=0)

    def summary(self):
        return {"books": self.count(), "authors": self.values("author").distinct()}


class BookManager(models.Manager.from_queryset(BookQuerySet)):
    def for_list(self):
        return self.get_queryset().select_related("author").order_by("title")


class Book(models.Model):
    title = models.CharField(max_length=80)
    slug = models.SlugField(unique=True)
    copies = models.IntegerField(default=1)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    fans = models.ManyToManyField(User, related_name="favourites")

    objects = BookManager()

    def byline(self):
        return f"{self.title}, by {self.author.name}"

    @property
    def label(self):
        return f"{self.title} ({self.copies})"

    @property
    def imprint(self):
        return self.author.publisher.name


class CatalogManager(models.Manager):
    def get_queryset(self):
        return super().get_queryset().select_related("book", "book__author")


class Loan(models.Model):
    book = models.ForeignKey(Book, models.CASCADE)
    reader = models.ForeignKey(User, models.CASCADE)
    returned = models.BooleanField(default=False)

    objects = models.Manager()
    catalog = CatalogManager()


class Card(models.Model):
    reader = models.OneToOneField(User, models.CASCADE, related_name="card")
    number = models.CharField(max_length=20)
