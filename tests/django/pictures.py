"""A Celery app whose worker the tests start; broker and results are named by the environment."""

import os

import celery

import groupcast

app = celery.Celery("pictures")
app.conf.update(
    broker_url=os.environ["PICTURES_BROKER"],
    result_backend=os.environ["PICTURES_RESULTS"],
    worker_hijack_root_logger=False,
)
groupcast.celery.install(app)


class OwnBase(celery.Task):
    """A base that is not the app's own class, as sites have them."""


@app.task(bind=True, base=OwnBase)
def resize(self, total):
    """Reports each picture, in a dict that it goes on changing."""
    meta = {"current": 0, "total": total}
    for meta["current"] in range(1, total + 1):
        self.update_state(state="PROGRESS", meta=meta)
    return "done"
