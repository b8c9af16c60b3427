from django.db import models


class Subscriber(models.Model):
    email = models.EmailField()
    confirmed = models.BooleanField(default=False)


class Issue(models.Model):
    title = models.CharField(max_length=100)
    lead = models.ForeignKey("articles.Article", null=True, on_delete=models.SET_NULL)
    readers = models.ManyToManyField(Subscriber)
