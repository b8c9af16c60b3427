import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache

from asgiref.sync import async_to_sync, sync_to_async
from django.dispatch import Signal
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.functional import cached_property

from library import services
from library.models import Author, Book, Loan
from library.signals import book_seen, quiet_signal

state = threading.local()
lock = threading.Lock()
pool = ThreadPoolExecutor()
running = set()


class Settings(threading.local):
    language = "en"


language = Settings()


# 405


async def forgotten(request, pk):
    book = Book.objects.aget(pk=pk)  # expect: 405
    return HttpResponse(book.title)


async def dropped(request, pk):
    loan = await Loan.objects.aget(pk=pk)
    services.notify(loan)  # expect: 405
    return HttpResponse("ok")


async def always_true(request):
    if Book.objects.filter(copies=0).aexists():  # expect: 405
        return HttpResponse("none left")
    return HttpResponse("some")


async def save_forgotten(request, pk):
    author = await Author.objects.aget(pk=pk)
    author.asave()  # expect: 405
    return HttpResponse("saved")


async def gathered(request, pk):
    jobs = [services.notify(loan) async for loan in Loan.objects.all()]
    await asyncio.gather(*jobs)
    one = Book.objects.aget(pk=pk)
    book = await one
    return HttpResponse(book.title)


def returns_coroutine(pk):
    return Book.objects.aget(pk=pk)


async def awaits_what_is_returned(request, pk):
    book = await returns_coroutine(pk)
    return HttpResponse(book.title)


# 407


def lines():
    yield "a"
    yield "b"


def ticks():
    while True:
        yield "tick"


async def alines():
    yield "a"


async def stream(request):
    return StreamingHttpResponse(lines())  # expect: 407


async def endless(request):
    response = StreamingHttpResponse(streaming_content=ticks(), content_type="text/event-stream")  # expect: 407
    response["X-Accel-Buffering"] = "no"
    return response


async def file(request):
    return FileResponse(await asyncio.to_thread(open, "/etc/hostname", "rb"))  # expect: 407


async def stream_well(request):
    return StreamingHttpResponse(alines())


async def stream_expression(request):
    return StreamingHttpResponse(f"{book.title}" async for book in Book.objects.all())


def synchronous_stream(request):
    return StreamingHttpResponse(lines())


class AsyncFile(FileResponse):
    def _set_streaming_content(self, value):
        super()._set_streaming_content(alines())


async def own_file(request):
    return AsyncFile(alines())


# 408


async def in_a_thread(request):
    n = await asyncio.to_thread(services.count_loans)  # expect: 408
    return JsonResponse({"n": n})


async def in_an_executor(request, pk):
    loop = asyncio.get_running_loop()
    book = await loop.run_in_executor(pool, lambda: Book.objects.get(pk=pk))  # expect: 408
    return HttpResponse(book.title)


async def insensitive(request):
    count = sync_to_async(services.count_loans, thread_sensitive=False)
    return JsonResponse({"n": await count()})  # expect: 408


async def in_the_pool(request):
    future = pool.submit(services.count_loans)  # expect: 408
    return JsonResponse({"n": await asyncio.wrap_future(future)})


async def in_a_thread_well(request):
    a = await asyncio.to_thread(services.count_loans_tidily)
    b = await sync_to_async(services.count_loans)()
    c = await asyncio.to_thread(services.price, Book(copies=1))
    return JsonResponse({"n": a + b + c})


# 410


async def set_state(request):
    state.user = request.GET.get("user")  # expect: 410
    return HttpResponse("set")


async def read_state(request):
    return HttpResponse(language.language)  # expect: 410


def synchronous_state(request):
    return HttpResponse(language.language)


# 411


@lru_cache
async def best_book():  # expect: 411
    return await Book.objects.afirst()


class Shelf:
    @cached_property
    async def books(self):  # expect: 411
        return [book async for book in Book.objects.all()]

    @cached_property
    def label(self):
        return "shelf"


@cache
def constants():
    return {"a": 1}


# 412


async def loop_in_loop(request, pk):
    loan = await Loan.objects.aget(pk=pk)
    async_to_sync(services.notify)(loan)  # expect: 412
    services.notify_now(loan)  # expect: 412
    return HttpResponse("ok")


async def run_in_loop(request):
    asyncio.run(asyncio.sleep(1))  # expect: 412
    return HttpResponse("ok")


async def complete_in_loop(request):
    loop = asyncio.get_event_loop()
    loop.run_until_complete(asyncio.sleep(1))  # expect: 412
    return HttpResponse("ok")


def bridge(pk):
    return async_to_sync(Book.objects.aget)(pk=pk)


async def in_a_thread_it_is_fine(request):
    book = await sync_to_async(bridge)(1)
    return HttpResponse(book.title)


# 413


async def fire(request, pk):
    loan = await Loan.objects.aget(pk=pk)
    asyncio.create_task(services.notify(loan))  # expect: 413
    return HttpResponse("ok")


async def fire_query(request, pk):
    loan = await Loan.objects.aget(pk=pk)
    asyncio.ensure_future(services.record(loan))  # expect: 413
    return HttpResponse("ok")


async def kept(request, pk):
    loan = await Loan.objects.aget(pk=pk)
    task = asyncio.create_task(services.notify(loan))
    running.add(task)
    task.add_done_callback(running.discard)
    async with asyncio.TaskGroup() as group:
        group.create_task(services.notify(loan))
    return HttpResponse("ok")


# 414


async def stubborn(request):
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:  # expect: 414
        pass
    return HttpResponse("ok")


async def bare(request):
    try:
        await asyncio.sleep(60)
    except:  # expect: 414  # noqa: E722
        return HttpResponse("failed")
    return HttpResponse("ok")


async def own_task(request):
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    return HttpResponse("ok")


async def raises_again(request):
    try:
        await asyncio.sleep(60)
    except BaseException:
        print("left")
        raise
    return HttpResponse("ok")


async def ordinary(request):
    try:
        await asyncio.sleep(60)
    except Exception:
        return HttpResponse("failed")
    return HttpResponse("ok")


# 417


async def serial(request):
    books, loans = await asyncio.gather(Book.objects.acount(), Loan.objects.acount())  # expect: 417
    return JsonResponse({"books": books, "loans": loans})


async def parallel(request, pk):
    loan = await Loan.objects.aget(pk=pk)
    await asyncio.gather(services.notify(loan), asyncio.sleep(1))
    return HttpResponse("ok")


# 418


async def announce(request):
    book_seen.send(sender=Book, title="a")  # expect: 418
    return HttpResponse("ok")


async def announce_quietly(request):
    quiet_signal.send_robust(sender=None)  # expect: 418
    return HttpResponse("ok")


class Radio:
    def send(self, **kwargs):
        return kwargs


async def announce_well(request):
    await book_seen.asend(sender=Book, title="a")
    Radio().send(a=1)
    await sync_to_async(book_seen.send)(sender=Book, title="b")
    return HttpResponse(str(Signal))


# 419


async def locked(request):
    with lock:  # expect: 419
        await asyncio.sleep(1)
    return HttpResponse("ok")


class Counter:
    def __init__(self):
        self.guard = threading.RLock()
        self.gate = asyncio.Lock()

    async def count(self):
        with self.guard:  # expect: 419
            await asyncio.sleep(0)

    async def count_well(self):
        async with self.gate:
            await asyncio.sleep(0)
        with self.guard:
            return 1
