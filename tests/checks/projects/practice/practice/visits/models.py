from django.contrib.auth import get_user_model
from django.db import models


class Clinic(models.Model):
    name = models.CharField(max_length=80)


class Doctor(models.Model):
    name = models.CharField(max_length=80)
    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="doctors")
    user = models.OneToOneField("auth.User", on_delete=models.CASCADE, null=True)

    def __str__(self):
        return f"{self.name}, {self.clinic.name}"  # expect: 403


class Label(models.Model):
    text = models.CharField(max_length=20)


class Visit(models.Model):
    doctor = models.ForeignKey(Doctor, on_delete=models.CASCADE, related_name="visits")
    patient = models.ForeignKey("auth.User", on_delete=models.CASCADE)
    labels = models.ManyToManyField(Label)
    notes = models.TextField()
    scan = models.FileField(upload_to="scans")
    at = models.DateTimeField()

    class Meta:
        ordering = ["at"]

    @classmethod
    def upcoming(cls):
        return cls.objects.filter(at__isnull=False)

    @classmethod
    def busiest(cls):
        return cls.upcoming().values("doctor").annotate(n=models.Count("pk")).order_by("-n").first()  # expect: 402

    def is_free(self):
        return not self.doctor_id
