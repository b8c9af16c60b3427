from django import forms


class EchoForm(forms.Form):
    name = forms.CharField(initial="World")
    colour = forms.ChoiceField(choices=[("green", "Green"), ("blue", "Blue"), ("grey", "Grey")])
    message = forms.CharField(widget=forms.Textarea(attrs={"rows": 4}), required=False)
    agreed = forms.BooleanField(label="I agree with myself", required=False)


class UploadForm(forms.Form):
    file = forms.FileField(allow_empty_file=True)
