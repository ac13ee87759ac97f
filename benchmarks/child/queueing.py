"""Workers of queues, for `benchmarks.queue`: `MODE PLACE`. Ready at its first line, begins at one, says what it did."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import apsw

CLAIM = "SELECT id FROM jobs WHERE status = 0 ORDER BY priority, id LIMIT 1"


def now() -> float:
    """The same clock in all processes."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def say(value: Any) -> None:
    print(json.dumps(value), flush=True)


def go() -> None:
    say("ready")
    sys.stdin.readline()


def ours(url: str) -> None:
    from eventstate import JobQueue, Worker, open_store

    ends: list[float] = []
    with open_store(url) as store:
        worker = Worker(JobQueue(store), {"nothing": lambda _job, _context: ends.append(now())})
        go()
        began = now()
        worker.run(until_idle=True)
    say({"done": len(ends), "began": began, "ended": max(ends, default=began)})


def listen(url: str, count: str) -> None:
    """When each job began."""
    from eventstate import JobQueue, Worker, open_store

    starts: dict[str, float] = {}

    def note(job: Any, _context: Any) -> None:
        starts[job.job_id] = now()
        if len(starts) == int(count):
            worker.stop()

    with open_store(url) as store:
        worker = Worker(JobQueue(store), {"note": note})
        say("ready")
        worker.run()
    say(starts)


def raw(path: str) -> None:
    """Two transactions a job, by hand."""
    connection = apsw.Connection(path)
    connection.set_busy_timeout(60_000)
    list(connection.execute("PRAGMA synchronous = FULL"))
    go()
    began, done = now(), 0
    while True:
        connection.execute("BEGIN IMMEDIATE")
        row = next(iter(connection.execute(CLAIM)), None)
        if row is not None:
            connection.execute("UPDATE jobs SET status = 1, worker = 'w', attempt = attempt + 1 WHERE id = ?", row)
        connection.execute("COMMIT")
        if row is None:
            break
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE jobs SET status = 2, result = '{}' WHERE id = ? AND worker = 'w'", row)
        connection.execute("COMMIT")
        done += 1
    say({"done": done, "began": began, "ended": now()})


MODES: dict[str, Callable[..., None]] = {"ours": ours, "raw": raw, "listen": listen}

if __name__ == "__main__":
    MODES[sys.argv[1]](*sys.argv[2:])
