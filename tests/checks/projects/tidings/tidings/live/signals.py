from django.db.models.signals import post_save
from django.dispatch import Signal, receiver

from ..articles.models import Article
from .models import Ticker

ticker_changed = Signal()


@receiver(ticker_changed)
async def on_ticker(sender, line, **kwargs):
    Ticker.objects.update_or_create(name="main", defaults={"line": line})  # expect: 402


@receiver(post_save, sender=Article)
def on_article(sender, instance, **kwargs):
    Ticker.objects.filter(name="main").update(line=instance.headline)  # fine: sync receiver


async def tick(line):
    await ticker_changed.asend(Ticker, line=line)  # fine
    ticker_changed.send_robust(sender=Ticker, line=line)  # expect: 418
