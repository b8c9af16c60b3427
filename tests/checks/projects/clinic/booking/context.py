from booking.models import Appointment


def opening_hours(request):
    return {"opening_hours": "8-18"}


async def unread_letters(request):  # expect: 316
    return {"unread": await Appointment.objects.acount()}
