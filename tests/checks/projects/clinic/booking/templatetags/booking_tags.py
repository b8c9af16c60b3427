from django import template

from booking.models import Appointment

register = template.Library()


@register.simple_tag
async def waiting_patients():  # expect: 316
    return await Appointment.objects.acount()


@register.filter(name="initials")
async def initials(name):  # expect: 316
    return "".join(part[0] for part in name.split())


@register.inclusion_tag("booking/slots.html", takes_context=True)
async def slots(context):  # expect: 316
    return {"slots": [appointment async for appointment in Appointment.objects.all()]}


@register.simple_tag(takes_context=True)
def greeting(context):
    return "Good morning"


@register.filter
def shout(text):
    return text.upper()
