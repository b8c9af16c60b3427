from django.conf import settings
from django.db import models


class Team(models.Model):
    name = models.CharField(max_length=50)
    lead = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")


class TicketManager(models.Manager):
    def open(self):
        return self.filter(closed=False)

    def urgent_count(self):
        return self.open().filter(priority__gte=8).count()

    async def anewest(self):
        return await self.open().order_by("-pk").afirst()


class Ticket(models.Model):
    team = models.ForeignKey("Team", on_delete=models.CASCADE)
    title = models.CharField(max_length=200)
    priority = models.IntegerField(default=0)
    closed = models.BooleanField(default=False)
    attachment = models.FileField(upload_to="tickets", blank=True)
    watchers = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")

    objects = TicketManager()

    def __str__(self):
        return f"{self.team.name}: {self.title}"

    def get_absolute_url(self):
        return f"/tickets/{self.pk}/"

    def close(self):
        self.closed = True
        self.save(update_fields=["closed"])

    def family(self):
        yield self
        for child in self.children.all():
            yield child

    async def aclose(self):
        self.closed = True
        await self.asave(update_fields=["closed"])


class Comment(models.Model):
    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="comments")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    text = models.TextField()


class Settings(models.Model):
    key = models.CharField(max_length=20, primary_key=True)
    value = models.TextField()

    @classmethod
    def load(cls, key):
        return cls.objects.get(key=key).value

    @staticmethod
    def size():
        return Settings._default_manager.count()
