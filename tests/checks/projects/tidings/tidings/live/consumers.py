import asyncio
import functools
import json
import queue
import threading

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, WebsocketConsumer

from ..articles.models import Article, Comment
from .models import Ticker


class TickerConsumer(AsyncJsonWebsocketConsumer):
    guard = threading.RLock()

    async def connect(self):
        self.ticker = await self.load(self.scope["url_route"]["kwargs"]["name"])
        await self.accept()
        self.channel_layer.group_add("tickers", self.channel_name)  # expect: 405
        asyncio.ensure_future(self.pump())  # expect: 413

    @database_sync_to_async
    def load(self, name):
        return Ticker.objects.get(name=name)  # fine

    async def pump(self):
        while True:
            await self.ticker.arefresh_from_db()
            await self.send_json({"line": self.ticker.line})
            await asyncio.sleep(1)

    async def receive_json(self, content, **kwargs):
        kind = content.pop("kind", None)
        handler = {"say": self.say, "ask": self.ask}.get(kind)
        if handler:
            await handler(content)

    async def say(self, content):
        self.ticker.line = content["line"]
        self.ticker.save()  # expect: 402
        with self.guard:  # expect: 419
            await self.send_json({"ok": True})

    async def ask(self, content):
        comment = await Comment.objects.select_related("article").aget(pk=content["pk"])
        await self.send_json({"on": comment.article.headline, "by": comment.member.get_username()})  # expect: 403


class ChatConsumer(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        Comment.objects.filter(pk=int(text_data)).delete()  # fine: a sync consumer has a thread
        self.send(text_data="ok")


class RoomConsumer(AsyncWebsocketConsumer):
    history = functools.partialmethod(lambda self, n: list(range(n)))

    async def receive(self, text_data=None, bytes_data=None):
        data = json.loads(text_data)
        try:
            article = await Article.objects.select_related(None).aget(slug=data["slug"])
        except Article.DoesNotExist:
            return await self.close()
        recent = queue.Queue()
        recent.put_nowait(article.headline)
        tags = [tag.word for tag in article.tags.all()]  # expect: 402
        with threading.Lock():  # fine: nothing awaited
            count = len(tags)
        section = article.section.title  # expect: 403
        await self.send(text_data=json.dumps({"tags": tags, "count": count, "section": section}))

    async def room_message(self, event):
        articles = Article.objects.prefetch_related("tags").order_by("pk")
        async for article in articles:
            words = {tag.word for tag in article.tags.all()}  # fine: prefetched
            await self.send(text_data=",".join(words))
