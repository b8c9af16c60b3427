from django.conf import settings
from django.db import models


class Plan(models.Model):
    name = models.CharField(max_length=30)
    price = models.DecimalField(max_digits=6, decimal_places=2)


class Membership(models.Model):
    member = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="membership")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT)
    until = models.DateField()

    class Meta:
        base_manager_name = "objects"


class Basket:
    """Not a model, although it can be saved."""

    def __init__(self, lines=()):
        self.lines = list(lines)

    def save(self):
        self.lines.sort()

    def delete(self):
        self.lines.clear()

    def count(self):
        return len(self.lines)

    def first(self):
        return self.lines[0]

    def refresh_from_db(self):
        return self


class Cached:
    objects = Basket()
