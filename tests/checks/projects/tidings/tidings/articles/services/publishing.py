import asyncio
import contextlib
import datetime as dt
from functools import cached_property, partial

from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core.cache import cache, caches
from django.core.mail import EmailMessage, send_mail
from django.dispatch import Signal
from django.utils import timezone

from ..models import Article, Author, Comment

article_published = Signal()
_tasks: set[asyncio.Task] = set()


async def publish(article: Article, *, by: Author | None = None) -> None:
    article.published_at = timezone.now()
    await article.asave()
    article_published.send(sender=Article, article=article)  # expect: 418
    cache.delete(f"article:{article.pk}")  # expect: 415
    caches["local"].set("latest", article.pk)  # expect: 415
    message = EmailMessage("Published", article.headline, to=["desk@tidings.example"])
    message.send()  # expect: 415
    asyncio.create_task(notify_followers(article))  # expect: 413
    done = asyncio.create_task(asyncio.sleep(0))
    _tasks.add(done)
    done.add_done_callback(_tasks.discard)


async def notify_followers(article: Article):
    async for follower in User.objects.filter(is_active=True):
        await sync_to_async(follower.email_user)("News", article.headline)  # fine


async def retract(pk):
    article = await Article.objects.aget(pk=pk)
    for comment in article.comments.all():  # expect: 402
        comment.text = ""
    await asyncio.to_thread(article.delete)  # expect: 408
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, partial(Comment.objects.filter(article_id=pk).delete))  # expect: 408
    await sync_to_async(publish_now, thread_sensitive=False)(pk)  # expect: 408
    with contextlib.suppress(TimeoutError):
        await asyncio.to_thread(sum, [1, 2, 3])  # fine: no database


def publish_now(pk):
    Article.objects.filter(pk=pk).update(published_at=timezone.now())


class Digest:
    """The morning mail."""

    def __init__(self, day: dt.date):
        self.day = day

    @cached_property
    async def articles(self):  # expect: 411
        return [a async for a in Article.objects.filter(published_at__date=self.day)]

    async def subject(self):
        rows = await sync_to_async(Article.objects.filter)(published_at__date=self.day)  # expect: 409
        return f"{len(rows)} stories"

    async def send(self):
        send_mail("Digest", await self.subject(), None, ["all@tidings.example"])  # expect: 415
        return async_to_sync(self.subject)()  # expect: 412
