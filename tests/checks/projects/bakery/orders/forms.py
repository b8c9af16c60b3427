from django import forms

from orders.models import Order


class OrderForm(forms.ModelForm):
    class Meta:
        model = Order
        fields = ("number",)

    async def clean(self):  # expect: 308
        return self.cleaned_data

    async def clean_number(self):  # expect: 308
        return self.cleaned_data["number"]

    async def clean_up(self):
        return None

    async def send(self):
        return None
