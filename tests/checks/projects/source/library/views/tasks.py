"""Django 6.0 and above."""

from django.http import HttpResponse
from django.tasks import task


@task
def remind(pk):
    return pk


async def enqueue(request):
    remind.enqueue(1)  # expect: 421
    return HttpResponse("queued")


async def enqueue_with_options(request):
    result = remind.using(queue_name="default").enqueue(1)  # expect: 421
    return HttpResponse(result.id)


async def enqueue_well(request):
    await remind.aenqueue(1)
    return HttpResponse("queued")
