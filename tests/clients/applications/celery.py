#!/usr/bin/python3
"""usage: celery.py plain PORT

Celery with Redis as broker and result backend: tasks run once, a group and a chord come together."""
import sys

sys.path.pop(0)  # this folder, whose names are those of libraries

from celery import Celery, chord, group  # noqa: E402
from celery.contrib.testing.worker import start_worker  # noqa: E402

URL = f"redis://127.0.0.1:{sys.argv[2]}/0"
app = Celery("shoal", broker=URL, backend=URL)
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=3)
def stumbles(self):
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return "up again"


with start_worker(app, perform_ping_check=False, pool="threads", concurrency=4):
    assert add.delay(2, 3).get(timeout=30) == 5
    assert group(add.s(i, i) for i in range(20))().get(timeout=30) == [2 * i for i in range(20)]
    assert chord(add.s(i, 1) for i in range(10))(total.s()).get(timeout=30) == 55
    assert stumbles.delay().get(timeout=30) == "up again"
print("fine")
