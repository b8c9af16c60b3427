from asgiref.sync import sync_to_async
from django.db import transaction

from booking.models import Appointment


@transaction.atomic
async def swap(first, second):  # expect: 304
    await Appointment.objects.filter(pk=first).aupdate(is_cancelled=True)
    await Appointment.objects.filter(pk=second).aupdate(is_cancelled=False)


class Ledger:
    @transaction.atomic(durable=True)
    async def settle(self):  # expect: 304
        await Appointment.objects.aupdate(is_cancelled=True)

    @transaction.atomic
    def settle_now(self):
        Appointment.objects.update(is_cancelled=True)


@sync_to_async
@transaction.atomic
def swap_in_thread(first, second):
    Appointment.objects.filter(pk=first).update(is_cancelled=True)
    Appointment.objects.filter(pk=second).update(is_cancelled=False)
