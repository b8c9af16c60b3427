import json

from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.messages.views import SuccessMessageMixin
from django.http import JsonResponse
from django.shortcuts import render
from django.urls import reverse_lazy
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from django.views.generic import CreateView, DeleteView, ListView, UpdateView

from notes.forms import NoteForm
from notes.models import Note


class NoteList(ListView):
    queryset = Note.objects.select_related("owner")
    paginate_by = 20


async def note_list_async(request):
    """The same page as an asynchronous view: it never waits in a thread of its own."""
    notes = [note async for note in Note.objects.select_related("owner")[:20]]
    # Given here, because a template can't await the user whom `request.user` would fetch.
    user = await request.auser()
    return render(request, "notes/note_list.html", {"note_list": notes, "user": user, "is_async": True})


class NoteCreate(SuccessMessageMixin, CreateView):
    model = Note
    form_class = NoteForm
    success_url = reverse_lazy("notes:list")
    success_message = "“%(title)s” is written down."

    def form_valid(self, form):
        if self.request.user.is_authenticated:
            form.instance.owner = self.request.user
        return super().form_valid(form)


class NoteUpdate(SuccessMessageMixin, UpdateView):
    model = Note
    form_class = NoteForm
    success_url = reverse_lazy("notes:list")
    success_message = "“%(title)s” is saved."


class NoteDelete(LoginRequiredMixin, SuccessMessageMixin, DeleteView):
    model = Note
    success_url = reverse_lazy("notes:list")
    success_message = "The note is gone."


@csrf_exempt  # harmless here: it looks at no cookie, so there is nobody's name to act in
@require_http_methods(["GET", "HEAD", "POST"])
async def api(request):
    """GET lists the latest notes; POST {"title": ..., "body": ..., "done": ...} writes one."""
    if request.method == "POST":
        try:
            form = NoteForm(dict(json.loads(request.body)))
        except (TypeError, ValueError):
            return JsonResponse({"errors": {"__all__": ["The body should be a JSON object."]}}, status=400)
        if not form.is_valid():
            return JsonResponse({"errors": form.errors}, status=400)
        note = form.save(commit=False)
        await note.asave()
        return JsonResponse(as_dict(note), status=201)
    notes = [as_dict(note) async for note in Note.objects.order_by("-pk")[:100]]
    return JsonResponse(notes, safe=False)


def as_dict(note):
    return {
        "id": note.pk,
        "title": note.title,
        "body": note.body,
        "done": note.done,
        "created": note.created,
        "owner": note.owner_id,
    }
