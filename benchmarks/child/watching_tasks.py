"""A process of ``python -m benchmarks.tasks``: ``watching_tasks.py WHAT URL JOB SUBSCRIBERS``; prints JSON lines."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable

from eventstate import JobTasks, TaskSubscription, open_store

Arrivals = dict[str, float]
"""By the number of a task, when its status came, by the clock that all processes of this machine share."""

STALLED_SECONDS = 600.0


def watch(tasks: JobTasks, subscribers: int, ready: Callable[[], None]) -> list[Arrivals]:
    """What came to each of several subscribers until the job ended, each on a thread of its own."""
    subscriptions = [tasks.subscribe() for _ in range(subscribers)]
    arrivals: list[Arrivals] = [{} for _ in subscriptions]
    threads = [
        threading.Thread(target=take, args=(subscription, found))
        for subscription, found in zip(subscriptions, arrivals, strict=True)
    ]
    for thread in threads:
        thread.start()
    ready()
    for thread in threads:
        thread.join()
    return arrivals


def take(subscription: TaskSubscription, found: Arrivals) -> None:
    with subscription:
        for update in subscription:
            found[str(update.status.task)] = time.clock_gettime(time.CLOCK_MONOTONIC)


def main(what: str, url: str, job: str, subscribers: int) -> None:
    def ready() -> None:
        print(json.dumps({"ready": True}), flush=True)

    with open_store(url) as store:
        tasks = JobTasks(store, job)
        if what == "watch":
            print(json.dumps(watch(tasks, subscribers, ready)), flush=True)
            return
        with tasks.subscribe():
            ready()
            time.sleep(STALLED_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
