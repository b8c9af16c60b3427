from django.urls import path

from . import partners
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
