from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.http import HttpResponse, JsonResponse
from django.shortcuts import aget_object_or_404, get_object_or_404, render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.views import View
from django.views.generic import DetailView

from library import services
from library.models import Author, Book, Card, Loan

User = get_user_model()


async def get_one(request, pk):
    book = Book.objects.get(pk=pk)  # expect: 402
    return JsonResponse({"title": book.title})


async def save_one(request, pk):
    book = await Book.objects.aget(pk=pk)
    book.copies += 1
    book.save()  # expect: 402
    return JsonResponse({"copies": book.copies})


async def loop_over(request):
    titles = []
    for book in Book.objects.filter(copies__gt=1):  # expect: 402
        titles.append(book.title)
    return JsonResponse({"titles": titles})


async def as_list(request):
    books = Book.objects.available().order_by("title")
    return JsonResponse({"titles": [book.title for book in books]})  # expect: 402


async def length(request):
    books = Author.objects.all()
    return JsonResponse({"n": len(books)})  # expect: 402


async def truth(request):
    loans = Loan.objects.filter(returned=False)
    if loans:  # expect: 402
        return HttpResponse("open")
    return HttpResponse("none")


async def first_by_index(request):
    return HttpResponse(Book.objects.order_by("title")[0].title)  # expect: 402


async def related_manager(request, pk):
    author = await Author.objects.aget(pk=pk)
    n = author.books.count()  # expect: 402
    author.books.create(title="New")  # expect: 402
    return JsonResponse({"n": n})


async def many_to_many(request, pk):
    book = await Book.objects.aget(pk=pk)
    book.fans.add(await request.auser())  # expect: 402
    return HttpResponse("added")


async def shortcut(request, slug):
    book = get_object_or_404(Book, slug=slug)  # expect: 402
    return HttpResponse(book.title)


async def manager_method(request):
    return JsonResponse(Book.objects.summary())  # expect: 402


async def helper(request):
    return JsonResponse({"loans": services.count_loans()})  # expect: 402


async def cursor(request):
    with connection.cursor() as cursor:  # expect: 402
        cursor.execute("SELECT 1")
    return HttpResponse("ok")


async def cursor_in_helper(request):
    return HttpResponse(services.row_count())  # expect: 402


async def remove(request, pk):
    if (loan := await Loan.objects.filter(pk=pk).afirst()) is not None:
        loan.delete()  # expect: 402
    return HttpResponse("gone")


class BookView(View):
    async def get(self, request, pk):
        return HttpResponse(self.get_book(pk).title)  # expect: 402

    def get_book(self, pk):
        return Book.objects.get(pk=pk)


class BookDetail(DetailView):
    model = Book

    async def get(self, request, *args, **kwargs):
        self.object = self.get_object()  # expect: 402
        return HttpResponse(self.object.title)


async def lazy_relation(request, pk):
    book = await Book.objects.aget(pk=pk)
    return HttpResponse(book.author.name)  # expect: 403


async def lazy_relation_in_a_loop(request):
    names = [loan.book.title async for loan in Loan.objects.all()]  # expect: 403
    return JsonResponse({"names": names})


async def lazy_second_step(request):
    async for book in Book.objects.select_related("author"):
        print(book.author.publisher.name)  # expect: 403
    return HttpResponse("ok")


async def lazy_in_a_method(request, slug):
    book = await aget_object_or_404(Book, slug=slug)
    return HttpResponse(book.byline())  # expect: 403


async def lazy_in_a_property(request, slug):
    book = await aget_object_or_404(Book, slug=slug)
    return HttpResponse(book.imprint)  # expect: 403


async def lazy_reverse(request):
    user = await request.auser()
    return HttpResponse(user.card.number)  # expect: 403


async def in_template(request):
    books = Book.objects.all()
    return render(request, "books.html", {"books": books})  # expect: 416


async def in_string(request):
    context = {"title": "Books", "books": Book.objects.order_by("title")}
    return HttpResponse(render_to_string("books.html", context))  # expect: 416


async def wrapped_lazily(request):
    books = await sync_to_async(Book.objects.filter)(copies=1)  # expect: 409
    return JsonResponse({"titles": [book.title for book in books]})


async def wrapped_helper_lazily(request):
    loans = await sync_to_async(services.open_loans)(await request.auser())  # expect: 409
    return HttpResponse(f"{len(loans)} loans")


async def in_a_transaction(request):
    with transaction.atomic():  # expect: 406
        await Book.objects.aupdate(copies=0)
    return HttpResponse("ok")


async def in_an_async_transaction(request):
    async with transaction.atomic():  # expect: 406
        await Book.objects.aupdate(copies=0)
    return HttpResponse("ok")


async def transaction_in_helper(request, pk):
    book = await Book.objects.aget(pk=pk)
    services.lend(book, await request.auser())  # expect: 406
    return HttpResponse("ok")


# All well below.


async def asynchronous(request, pk):
    book = await Book.objects.select_related("author").aget(pk=pk)
    user = await request.auser()
    loan = Loan(book=book, reader=user)
    await loan.asave()
    titles = [each.title async for each in Book.objects.available()]
    return JsonResponse({"by": book.author.name, "loaned": loan.book.title, "key": book.author_id, "titles": titles})


async def evaluated(request):
    books = [book async for book in Book.objects.for_list()]
    if books and len(books) > 1:
        for book in books:
            print(book.author.name, books[0].title)
    return render(request, "books.html", {"books": books})


async def cached_by_async_for(request):
    loans = Loan.catalog.all()
    async for loan in loans:
        print(loan.book.author.name)
    return render(request, "loans.html", {"loans": loans, "n": len(loans)})


async def in_threads(request, pk):
    books = await sync_to_async(list)(Book.objects.all())
    one = await sync_to_async(Book.objects.get)(pk=pk)
    other = await sync_to_async(get_object_or_404)(Book, pk=pk)
    total = await sync_to_async(services.count_loans)()
    line = await sync_to_async(one.byline)()
    await sync_to_async(lambda: other.author.publisher.name)()
    return JsonResponse({"books": len(books), "total": total, "line": line, "label": one.label})


async def lazy_wrap_that_is_iterated_well(request):
    books = await sync_to_async(Book.objects.filter)(copies=1)
    return JsonResponse({"titles": [book.title async for book in books]})


async def template_response(request):
    return TemplateResponse(request, "books.html", {"books": Book.objects.all()})


async def set_relation(request):
    author = await Author.objects.afirst()
    book = Book(title="New", slug="new")
    book.author = author
    await book.asave()
    created = await Book.objects.acreate(title="Other", slug="other", author=author)
    async for each in author.books.all():
        print(each.author.name)
    return HttpResponse(book.author.name + created.author.name)


async def prefetched(request):
    names = []
    async for author in Author.objects.prefetch_related("books"):
        names += [book.title for book in author.books.all()]
    return JsonResponse({"names": names})


async def card(request):
    card = await Card.objects.select_related("reader").aget(number="1")
    return HttpResponse(card.reader.username)


def synchronous(request):
    with transaction.atomic():
        book = Book.objects.get(pk=1)
        book.save()
    return render(request, "books.html", {"books": Book.objects.all(), "author": book.author})


async def not_models(request):
    shelf = {"a": 1}
    for name in shelf.values():
        print(name)
    return HttpResponse(str(shelf.get("a")) + str(Shelf().get("a")) + str(len(shelf)))


class Shelf:
    objects = {"a": [1]}

    def get(self, name):
        return self.objects.get(name)

    def save(self):
        return None
