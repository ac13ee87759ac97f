"""W7: appends and loads in stores of different sizes, all open in one process and measured in turn."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from benchmarks.arms.session import Growing, machine_name
from benchmarks.child.appending import percentile
from benchmarks.child.opening import open_sync
from benchmarks.payloads import Size, state
from benchmarks.protocol import Request

WRITTEN = 20
"""Machines that are appended to, spread evenly over the store: what a busy application keeps warm."""

BLOCK = 10
"""Calls in one store before the next one's turn."""


class Store:
    """One store of one arm."""

    def __init__(self, request: Request) -> None:
        self._session = cast(Growing, open_sync(request))
        self._machines = request.machines
        self._size: Size = request.size
        self._versions: dict[str, int] = {}
        self._random = random.Random(1)  # the same machines in every run
        self._turn = 0

    def warm_up(self) -> None:
        """Append to and load each machine that will be written."""
        step = self._machines // WRITTEN
        for index in range(WRITTEN):
            name = machine_name(index * step)
            self._versions[name] = self._session.current(name)
            self.append()
            self.load()

    def append(self) -> None:
        """One event for the next of the machines that are written."""
        name = list(self._versions)[self._turn % len(self._versions)]
        self._turn += 1
        before = self._versions[name]
        value = state(self._size, before + 1)
        self._called(lambda: self._session.append(name, before, value), self.appended)
        self._versions[name] = before + 1

    def load(self) -> None:
        """The current state of any machine."""
        name = machine_name(self._random.randrange(self._machines))
        self._called(lambda: self._session.current(name), self.loaded)

    def begin(self) -> None:
        """Forget what was measured so far."""
        self.appended: list[float] = []
        self.loaded: list[float] = []

    def _called(self, call: Callable[[], object], times: list[float]) -> None:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)

    def check(self) -> None:
        for name, version in self._versions.items():
            if self._session.current(name) != version:
                raise AssertionError("the stored state is not what was written")

    def facts(self) -> dict[str, str]:
        return self._session.facts()

    def close(self) -> None:
        self._session.close()


def run(request: Request) -> dict[str, Any]:
    """``rounds``: for each round and each of the parts, the times of its appends and of its loads."""
    stores = [Store(part) for part in request.parts]
    try:
        for store in stores:
            store.begin()
            store.warm_up()
        rounds = [measure_round(stores, request.events) for _ in range(request.repeat)]
        for store in stores:
            store.check()
        return {"rounds": rounds, "facts": [store.facts() for store in stores]}
    finally:
        for store in stores:
            store.close()


def measure_round(stores: Sequence[Store], calls: int) -> list[dict[str, dict[str, float]]]:
    for store in stores:
        store.begin()
    for _ in range(calls // BLOCK):
        for store in stores:
            for _ in range(BLOCK):
                store.append()
            for _ in range(BLOCK):
                store.load()
    return [{"append": times(store.appended), "load": times(store.loaded)} for store in stores]


def times(latencies: list[float]) -> dict[str, float]:
    ordered = sorted(latencies)
    return {"p50_us": 1e6 * percentile(ordered, 0.50), "p99_us": 1e6 * percentile(ordered, 0.99)}
