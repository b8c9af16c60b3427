from django import forms
from django.forms import modelformset_factory

from desk.models import Ticket


class TicketForm(forms.ModelForm):
    class Meta:
        model = Ticket
        exclude = ["watchers"]


TicketFormSet = modelformset_factory(Ticket, fields=["title"])
