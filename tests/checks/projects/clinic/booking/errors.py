from django.http import HttpResponse
from django.views import View


async def page_not_found(request, exception):  # expect: 315
    return HttpResponse("There is no such page at our practice.", status=404)


class ServerError(View):
    async def get(self, request):  # expect: 315
        return HttpResponse("We are looking after it.", status=500)


def permission_denied(request, exception):
    return HttpResponse("For staff only.", status=403)


async def csrf_failure(request, reason=""):  # expect: 315
    return HttpResponse("Please reload the form.", status=403)
