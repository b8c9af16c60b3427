from django.tasks import task


@task
def send_issue(pk):
    from .models import Issue

    for reader in Issue.objects.get(pk=pk).readers.all():  # fine: a task
        print(reader.email)
