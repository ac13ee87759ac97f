"""`python -m benchmarks.tasks`: a thousand tasks report into a job on SQLite, twenty subscribers watch.

Shows how soon a status is delivered after its report has returned, and what a subscriber that reads nothing costs those
who report: their speed with it as a ratio to that without, in rounds that take turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.child.watching_tasks import Arrivals, watch
from benchmarks.delivery import Delay, delay
from benchmarks.processes import ROOT
from eventstate import JobTasks, TaskReporter, open_store

CHILD = "benchmarks.child.watching_tasks"
JOB = "job"
PROCESSES = 4


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--subscribers", type=int, default=20, help="a fifth in this process, the others in four more")
    parser.add_argument("--gap", type=float, default=0.01, help="seconds between two reports")
    parser.add_argument("--rounds", type=int, default=6, help="of writing with and without a stalled subscriber")
    parser.add_argument("--reports", type=int, default=1000, help="of each round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        across, within = delivered(Path(folder) / "jobs.db", options.tasks, options.subscribers, options.gap)
        print(f"{options.tasks} tasks, {options.subscribers} subscribers in {PROCESSES + 1} processes")
        print(f"to other processes: p50 {across.p50:.2f} ms, p99 {across.p99:.2f} ms")
        print(f"in one process:     p50 {within.p50:.2f} ms, p99 {within.p99:.2f} ms")
        free, stalled = speeds(Path(folder) / "stalled.db", options.rounds, options.reports)
        ratios = [one / other for one, other in zip(stalled, free, strict=True)]
        print(
            f"reports/s:          {median(free):,.0f}; beside a stalled subscriber {median(stalled):,.0f}:"
            f" {median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    return 0


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def delivered(path: Path, count: int, subscribers: int, gap: float) -> tuple[Delay, Delay]:
    """How long after its report each status came to each subscriber: across processes, and within one."""
    each = max(1, subscribers // (PROCESSES + 1))
    with open_store(url_of(path)) as store:
        tasks = JobTasks(store, JOB, tasks=count)
        reporters = [tasks.reporter(task) for task in range(count)]
        processes = [start(path, each) for _ in range(PROCESSES)]
        for process in processes:
            line_of(process)
        own: list[Arrivals] = []
        thread = threading.Thread(target=lambda: own.extend(watch(tasks, each, ready.set)))
        ready = threading.Event()
        thread.start()
        ready.wait(60)
        returned = [report(reporter, gap) for reporter in reporters]
        tasks.close()
        thread.join(60)
        others = [arrivals for process in processes for arrivals in line_of(process)]
    return spread(others, returned), spread(own, returned)


def spread(watched: Sequence[Arrivals], returned: Sequence[float]) -> Delay:
    assert all(len(arrivals) == len(returned) for arrivals in watched), "a subscriber has missed something"
    return delay([arrivals[str(task)] - at for arrivals in watched for task, at in enumerate(returned)])


def report(reporter: TaskReporter, gap: float) -> float:
    """When the report returned."""
    time.sleep(gap)
    reporter.finished()
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def speeds(path: Path, rounds: int, reports: int) -> tuple[list[float], list[float]]:
    """Reports a second without and with a subscriber that reads nothing, the one first or the other."""
    free: list[float] = []
    stalled: list[float] = []
    with open_store(url_of(path)) as store:
        tasks = JobTasks(store, JOB, tasks=10)
        reporters = [tasks.reporter(task) for task in range(10)]
        speed(reporters, reports)
        for number in range(rounds):
            for is_stalled in (number % 2 == 0, number % 2 == 1):
                if not is_stalled:
                    free.append(speed(reporters, reports))
                    continue
                with tasks.subscribe(), start(path, 1, "stall") as process:
                    line_of(process)
                    stalled.append(speed(reporters, reports))
                    process.kill()
    return free, stalled


def speed(reporters: Sequence[TaskReporter], reports: int) -> float:
    began = time.perf_counter()
    for number in range(reports):
        reporters[number % len(reporters)].report(number)
    return reports / (time.perf_counter() - began)


def start(path: Path, subscribers: int, what: str = "watch") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", CHILD, what, url_of(path), JOB, str(subscribers)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


if __name__ == "__main__":
    sys.exit(main())
