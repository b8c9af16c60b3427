from django.db import models


class Appointment(models.Model):
    patient = models.CharField(max_length=100)
    starts_at = models.DateTimeField(null=True)
    is_cancelled = models.BooleanField(default=False)

    def __str__(self):
        return self.patient
