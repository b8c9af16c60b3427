from django import forms

from library.models import Book


class BookForm(forms.ModelForm):
    class Meta:
        model = Book
        fields = ["title", "slug", "author"]


class ContactForm(forms.Form):
    book = forms.ModelChoiceField(Book.objects.all())
    text = forms.CharField()


class SearchForm(forms.Form):
    q = forms.CharField()
    order = forms.ChoiceField(choices=[("a", "A")])
