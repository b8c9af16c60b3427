from django.db import models


class Ticker(models.Model):
    name = models.CharField(max_length=50)
    line = models.CharField(max_length=200)
