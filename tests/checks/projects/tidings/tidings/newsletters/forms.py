from django import forms

from .models import Issue


class SubscribeForm(forms.Form):
    email = forms.EmailField()


class IssueForm(forms.ModelForm):
    class Meta:
        model = Issue
        fields = ["title", "lead"]
