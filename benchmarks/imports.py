"""W6: what importing each library costs a fresh interpreter, beyond starting one that imports nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.environments import OWN, EnvironmentFailed, interpreter
from benchmarks.part import Places
from benchmarks.processes import ROOT, MeasurementFailed, call
from benchmarks.progress import Progress, Step
from benchmarks.results import Row, Table


class Import(NamedTuple):
    """One statement measured in one environment; ``first`` is run once, before anything is measured."""

    arm: str
    environment: str
    statement: str
    first: str = ""


LOADED: Final = """
from eventstate import StateMachinePersister, open_store
with open_store('sqlite:///' + PATH) as store:
    StateMachinePersister(store).load('order-1')
"""
SAVED: Final = """
from eventstate import StateMachinePersister, open_store
with open_store('sqlite:///' + PATH) as store:
    StateMachinePersister(store).save_state('order-1', {'n': 1}, expected=0)
"""
REFERENCE: Final = "bare interpreter"
IMPORTS: Final = (
    Import("eventstate", OWN, "import eventstate"),
    Import("eventstate, one state loaded", OWN, LOADED, SAVED),
    Import("apsw + orjson", OWN, "import apsw, orjson"),
    Import("eventsourcing", "eventsourcing", "import eventsourcing.application, eventsourcing.sqlite"),
    Import("eventsource-py", "eventsource-py", "import eventsource\nimport eventsource.adapters.sqlite.store"),
    Import("langgraph", "langgraph", "from langgraph.checkpoint.sqlite import SqliteSaver"),
    Import("langgraph, asyncio", "langgraph", "from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver"),
    Import("dbos", "dbos", "import dbos"),
)
DATABASE: Final = "import.db"
MEMORY: Final = """
try:
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmRSS")))
except OSError:
    print(0)
"""


class Imports:
    """Each library between two bare interpreters of its environment in each round; the first round fills caches."""

    def __init__(self, *, rounds: int, names: Sequence[str], places: Places, progress: Progress) -> None:
        self._chosen = [one for one in IMPORTS if not names or any(name in one.arm for name in names)]
        self._rounds = rounds
        self._places = places
        self._progress = progress
        self._bare: tuple[str, dict[str, float]] | None = None  # the last one, and its environment
        rows = [Row(arm=REFERENCE), *(Row(arm=one.arm) for one in self._chosen)]
        self._table = Table(name="w6", title="W6 import", unit="ms", rows=rows, wanted=rounds)

    @property
    def tables(self) -> Sequence[Table]:
        return [self._table]

    def steps(self) -> list[Step]:
        return [Step(f"w6: {one.arm}", self._rounds + 1, 0.6) for one in self._chosen]

    def run(self) -> None:
        for number in range(-1, self._rounds):
            self._bare = None
            for one in self._chosen:
                self._measure(one, number)
            self._table.done = max(0, number + 1)

    def _measure(self, one: Import, number: int) -> None:
        row = self._table.row(one.arm)
        assert row is not None
        if number >= 0 and not row.rounds and row.failures:
            self._progress.drop(f"w6: {one.arm}")
            return
        self._progress(f"w6: {one.arm}", f"{self._table.title}, round {number + 1}/{self._rounds}: {one.arm}")
        try:
            if number < 0 and one.first:
                _start(interpreter(one.environment, self._places.cache), one.first, str(self._places.data / DATABASE))
            measured, bare = self._between_bare(one)
        except (MeasurementFailed, EnvironmentFailed, OSError, ValueError) as error:
            row.failures.append(str(error))
            return
        if number >= 0:
            row.add(measured, {})
            self._table.rows[0].add(bare, {})

    def _between_bare(self, one: Import) -> tuple[dict[str, float], dict[str, float]]:
        """What a statement adds, and the bare interpreters around it; neighbours of one environment share one."""
        python = interpreter(one.environment, self._places.cache)
        path = str(self._places.data / DATABASE)
        before = self._bare[1] if self._bare and self._bare[0] == one.environment else _start(python, "", path)
        loaded = _start(python, one.statement, path)
        after = _start(python, "", path)
        self._bare = one.environment, after
        bare = {name: (before[name] + after[name]) / 2 for name in before}
        return {name: loaded[name] - bare[name] for name in loaded}, bare


def _start(python: Path, statement: str, path: str) -> dict[str, float]:
    code = f"PATH = {path!r}\n{statement}\n{MEMORY}"
    started = time.perf_counter()
    output, errors = call([str(python), "-c", code], "", timeout=60, cwd=ROOT / "benchmarks" / "child")
    elapsed = time.perf_counter() - started
    if not output.strip():
        raise MeasurementFailed((errors.strip().splitlines() or ["no output"])[-1])
    return {"ms": 1e3 * elapsed, "rss_mib": int(output) / 1024}
