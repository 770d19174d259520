#!/usr/bin/python3
"""usage: rq.py plain PORT

RQ: jobs of two queues run in order of priority, with results, dependencies and failures kept."""
import sys

sys.path.pop(0)  # this folder, whose names are those of libraries

from redis import Redis  # noqa: E402
from rq import Queue, SimpleWorker  # noqa: E402
from rq.timeouts import TimerDeathPenalty  # noqa: E402


class Worker(SimpleWorker):
    death_penalty_class = TimerDeathPenalty


connection = Redis(port=int(sys.argv[2]))
high, low = Queue("high", connection=connection), Queue("low", connection=connection)
jobs = [low.enqueue("math.factorial", n) for n in range(10)]
first = high.enqueue("math.sqrt", 16)
after = low.enqueue("math.sqrt", 25, depends_on=first)
fails = low.enqueue("math.sqrt", -1)
Worker([high, low], connection=connection).work(burst=True)
assert first.result == 4.0 and after.result == 5.0
assert [job.result for job in jobs] == [1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880]
assert fails.get_status() == "failed" and fails.id in low.failed_job_registry.get_job_ids()
assert len(low) == 0 and len(high) == 0
print("fine")
