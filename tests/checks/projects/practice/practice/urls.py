from django.urls import path

from . import alike, desk, partners
from .visits import views as v

urlpatterns = [
    path(f"{name}/", getattr(v, name))
    for name in (
        "agenda by_doctor names printed prices report close serialized paged ask_all fax mailed leave basket counter who "
        "formset background_job doubled only_some csv zipped parts combined"
    ).split()
] + [
    path("one/<int:pk>/", v.one),
    path("note/<int:pk>/", v.note),
    path("labels/<int:pk>/", v.labels),
    path("scan/<int:pk>/", v.scan),
    path("finally/<int:pk>/", v.finally_saved),
    path("partners/fetch/", partners.fetch),
    path("partners/pay/", partners.pay),
    path("partners/fine/", partners.fine),
    path("board/", v.Board.as_view()),
]

urlpatterns += [
    path(f"desk/{name}/", getattr(desk, name))
    for name in (
        "where rated forgotten aggregates in_threads lazily nested_loops started sign stored drawn walrus early "
        "atomic_block sync_view"
    ).split()
]
urlpatterns += [
    path("desk/r/<int:pk>/", desk.related),
    path("desk/a/<int:pk>/", desk.attached),
    path("desk/c/", desk.Contact.as_view()),
]
urlpatterns += [path(f"alike/{name}/", getattr(alike, name)) for name in "a b c d e f g h uses_async_only".split()]
urlpatterns += [
    path("alike/V/", alike.V.as_view()),
    path("alike/O/", alike.Old.as_view()),
    path("alike/G/", alike.Good.as_view()),
]
