from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fotos", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="imagen",
            name="tarea",
            field=models.CharField(
                blank=True, help_text="the last task of its pipeline", max_length=40
            ),
        ),
    ]
