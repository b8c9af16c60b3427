from django import forms

from notes.models import Note


class NoteForm(forms.ModelForm):
    class Meta:
        model = Note
        fields = ["title", "body", "done"]
        widgets = {"body": forms.Textarea(attrs={"rows": 6})}
