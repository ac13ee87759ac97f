"""W8: many writers count up one number in one document."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.child.opening import open_counter
from benchmarks.protocol import Request

WARM_UP = 20


class Counted(NamedTuple):
    """What the writers did: increments and given-up calls of each, and the seconds from the first to the last."""

    done: list[int]
    given_up: list[int]
    seconds: float

    @property
    def slowest_share(self) -> float:
        """The slowest writer's part of a fair one; 1 where all are equal."""
        return min(self.done) * len(self.done) / sum(self.done) if any(self.done) else 0.0


def run(request: Request) -> dict[str, Any]:
    counter = open_counter(request)
    try:
        warm = sum(counter.increment() for _ in range(WARM_UP))
        counted = count_up(counter.increment, writers=request.machines, seconds=request.seconds)
        if counter.value() != warm + sum(counted.done):
            raise AssertionError(f"{counter.value()} is stored, {warm + sum(counted.done)} were counted")
        return {
            "events": sum(counted.done),
            "rate": sum(counted.done) / counted.seconds,
            "slowest_share": counted.slowest_share,
            "errors": sum(counted.given_up),
            "first_error": "given up after its retries" if any(counted.given_up) else "",
            "facts": counter.facts(),
        }
    finally:
        counter.close()


def count_up(increment: Callable[[], bool], *, writers: int, seconds: float) -> Counted:
    """Writers side by side for so long; a call that has begun is waited for, and counts."""
    done, given_up = [0] * writers, [0] * writers
    start = threading.Barrier(writers + 1)
    until = 0.0

    def write(index: int) -> None:
        start.wait()
        while time.monotonic() < until:
            if increment():
                done[index] += 1
            else:
                given_up[index] += 1

    threads = [threading.Thread(target=write, args=(index,), daemon=True) for index in range(writers)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    until = began + seconds
    start.wait()
    for thread in threads:
        thread.join()
    return Counted(done, given_up, time.monotonic() - began)
