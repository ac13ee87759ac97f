"""W6: what importing each library costs a fresh interpreter, beyond starting one that imports nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.environments import OWN, EnvironmentFailed, interpreter
from benchmarks.processes import ROOT, MeasurementFailed, call
from benchmarks.results import Row, Table


class Import(NamedTuple):
    """One statement measured in one environment."""

    arm: str
    environment: str
    statement: str


REFERENCE: Final = "bare interpreter"
IMPORTS: Final = (
    Import("eventstate", OWN, "import eventstate"),
    Import(
        "eventstate, store opened", OWN, "from eventstate import open_store\nopen_store('sqlite:///' + PATH).close()"
    ),
    Import("apsw + orjson", OWN, "import apsw, orjson"),
    Import("eventsourcing", "eventsourcing", "import eventsourcing.application, eventsourcing.sqlite"),
    Import("eventsource-py", "eventsource-py", "import eventsource\nimport eventsource.adapters.sqlite.store"),
    Import("langgraph", "langgraph", "from langgraph.checkpoint.sqlite import SqliteSaver"),
    Import("langgraph, asyncio", "langgraph", "from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver"),
    Import("dbos", "dbos", "import dbos"),
)
MEMORY: Final = """
try:
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmRSS")))
except OSError:
    print(0)
"""


def measure_imports(
    *, rounds: int, cache: Path, data: Path, names: Sequence[str], progress: Callable[[str], None]
) -> Table:
    """Each library between two bare interpreters in each round, the first round only to fill caches."""
    chosen = [one for one in IMPORTS if not names or any(name in one.arm for name in names)]
    table = Table(
        name="w6", title="W6 import", unit="ms", rows=[Row(arm=REFERENCE), *(Row(arm=one.arm) for one in chosen)]
    )
    for number in range(-1, rounds):
        for one in chosen:
            progress(f"W6 import, round {number + 1}/{rounds}: {one.arm}")
            row = table.row(one.arm)
            assert row is not None
            if number >= 0 and not row.rounds and row.failures:
                continue
            try:
                measured, bare = _measure(one, cache, data)
            except (MeasurementFailed, EnvironmentFailed) as error:
                row.failures.append(str(error))
                continue
            if number >= 0:
                row.add(measured, {})
                table.rows[0].add(bare, {})
    return table


def _measure(one: Import, cache: Path, data: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    python = interpreter(one.environment, cache)
    path = str(data / "import.db")
    before = _start(python, "", path)
    loaded = _start(python, one.statement, path)
    after = _start(python, "", path)
    bare = {name: (before[name] + after[name]) / 2 for name in before}
    return {name: loaded[name] - bare[name] for name in loaded}, bare


def _start(python: Path, statement: str, path: str) -> dict[str, Any]:
    code = f"PATH = {path!r}\n{statement}\n{MEMORY}"
    started = time.perf_counter()
    output, errors = call([str(python), "-c", code], "", timeout=60, cwd=ROOT / "benchmarks" / "child")
    elapsed = time.perf_counter() - started
    if not output.strip():
        raise MeasurementFailed((errors.strip().splitlines() or ["no output"])[-1])
    return {"ms": 1e3 * elapsed, "rss_mib": int(output) / 1024}
