"""`python -m benchmarks.queue`: jobs claimed and completed a second on SQLite, and how soon a queued job begins.

Each arm has the same number of jobs ready, and workers in 1 and in 4 processes that do nothing but claim and complete
them, one by one, every commit synced (WAL, synchronous FULL). ``raw`` is a table and two transactions a job, written by
hand: no log, no leases, no dependencies. The arms take turns in each round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import apsw

from benchmarks.environments import EnvironmentFailed, interpreter
from benchmarks.processes import ROOT
from eventstate import JobQueue, JobRequest, open_store

CHILD = "benchmarks.child.queueing"
PEER = "benchmarks.arms.huey_queue"
GAP_SECONDS = 0.05

Arm = Callable[[Path, int], list[str]]
"""Makes a queue of so many jobs in a folder; gives the command of a worker."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue", description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=200, help="jobs whose start is measured")
    options = parser.parse_args()
    arms: dict[str, Arm] = {"raw": raw, "eventstate": ours}
    try:
        python = str(interpreter("huey", ROOT / ".bench"))
        arms["huey"] = lambda folder, jobs: huey(python, folder, jobs)
    except EnvironmentFailed as error:
        print(f"huey: not run ({error})")
    speeds: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for workers in (1, 4):
            for name, arm in arms.items():
                with tempfile.TemporaryDirectory() as folder:
                    command = arm(Path(folder), options.jobs)
                    speeds.setdefault((name, workers), []).append(speed(command, workers, options.jobs))
    for workers in (1, 4):
        limit = median(speeds["raw", workers])
        for name in arms:
            value = median(speeds[name, workers])
            print(f"{workers} workers, {name:<10} {value:8,.0f} jobs/s  {value / limit:5.2f} of raw")
    with tempfile.TemporaryDirectory() as folder:
        cuts = starts(Path(folder), options.starts)
        print(
            f"from the return of queue_job to the tool, another process: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms"
        )
    return 0


def ours(folder: Path, jobs: int) -> list[str]:
    url = f"sqlite:///{folder / 'jobs.db'}"
    with open_store(url) as store:
        JobQueue(store).queue_jobs([JobRequest(job_id=f"{number:06d}", tool="nothing") for number in range(jobs)])
    return [sys.executable, "-m", CHILD, "ours", url]


def raw(folder: Path, jobs: int) -> list[str]:
    path = str(folder / "raw.db")
    connection = apsw.Connection(path)
    list(connection.execute("PRAGMA journal_mode = WAL"))
    connection.execute(
        "CREATE TABLE jobs (id TEXT PRIMARY KEY, status INT, priority INT, attempt INT, worker TEXT, result TEXT)"
    )
    connection.execute("CREATE INDEX waiting ON jobs (priority, id) WHERE status = 0")
    with connection:
        connection.executemany(
            "INSERT INTO jobs VALUES (?, 0, 0, 0, NULL, NULL)", [(f"{number:06d}",) for number in range(jobs)]
        )
    connection.close()
    return [sys.executable, "-m", CHILD, "raw", path]


def huey(python: str, folder: Path, jobs: int) -> list[str]:
    path = str(folder / "huey.db")
    subprocess.run([python, "-m", PEER, path, "seed", str(jobs)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return [python, "-m", PEER, path, "work"]


def speed(command: Sequence[str], workers: int, jobs: int) -> float:
    """Jobs a second from the first worker's beginning to the last one's last job."""
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    for process in processes:
        line_of(process)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [line_of(process) for process in processes]
    for process in processes:
        process.wait()
    done = sum(answer["done"] for answer in answers)
    if done != jobs:
        raise SystemExit(f"{command}: {done} jobs were done of {jobs}")
    return jobs / (max(answer["ended"] for answer in answers) - min(answer["began"] for answer in answers))


def line_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def starts(folder: Path, count: int) -> list[float]:
    """Percentiles, in milliseconds, from the return of `queue_job` to the tool of a waiting worker."""
    url = f"sqlite:///{folder / 'jobs.db'}"
    with open_store(url) as store:
        queue = JobQueue(store)
        command = [sys.executable, "-m", CHILD, "listen", url, str(count)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            line_of(process)
            time.sleep(1)
            returned: dict[str, float] = {}
            for number in range(count):
                time.sleep(GAP_SECONDS)
                queue.queue_job(JobRequest(job_id=f"{number:06d}", tool="note"))
                returned[f"{number:06d}"] = time.clock_gettime(time.CLOCK_MONOTONIC)
            began = line_of(process)
    return quantiles([max(began[id] - at, 0.0) * 1000 for id, at in returned.items()], n=100)


if __name__ == "__main__":
    sys.exit(main())
