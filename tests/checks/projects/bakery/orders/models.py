from django.db import models


class Order(models.Model):
    number = models.IntegerField()

    def __str__(self):
        return str(self.number)

    async def save(self, *args, **kwargs):  # expect: 308
        await super().asave(*args, **kwargs)

    async def asave(self, *args, **kwargs):
        await super().asave(*args, **kwargs)

    async def total(self):
        return self.number
