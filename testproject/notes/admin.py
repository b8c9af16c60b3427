from django.contrib import admin

from notes.models import Note


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    list_display = ["title", "done", "owner", "created"]
    list_filter = ["done"]
    list_select_related = ["owner"]
    search_fields = ["title", "body"]
    date_hierarchy = "created"
