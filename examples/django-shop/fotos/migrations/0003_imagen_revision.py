from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fotos", "0002_imagen_tarea")]

    operations = [
        migrations.AddField(
            model_name="imagen",
            name="revision",
            field=models.CharField(
                blank=True, help_text="the task of its content check", max_length=40
            ),
        ),
    ]
