from django.dispatch import Signal, receiver

from library.models import Book

book_seen = Signal()
quiet_signal = Signal()


@receiver(book_seen)
def count(sender, title, **kwargs):
    Book.objects.filter(title=title).update(copies=1)


@receiver(book_seen)
async def acount(sender, title, **kwargs):
    await Book.objects.filter(title=title).aupdate(copies=1)
    Book.objects.filter(title=title).update(copies=1)  # expect: 402


@receiver(quiet_signal)
def note(sender, **kwargs):
    print(sender)
