"""A real event log imported by a process that is killed again and again, then compared row by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any, NamedTuple

import orjson

from eventstate.cli.demo.killing import start
from eventstate.cli.demo.report import Figure, Report, count, fault
from eventstate.cli.importing.columns import Columns
from eventstate.cli.importing.files import EventFile
from eventstate.cli.records import parse_instant
from eventstate.errors import ConfigurationError, StateNotFoundError
from eventstate.machines.persister import StateMachinePersister
from eventstate.stores.url import open_store

GOVERNOR = "demo"
GUESSES = {"state_id": "case", "action": "concept:name", "time": "time:timestamp"}
"""The usual names in process logs."""

PAUSE = (0.3, 1.0)
"""Seconds after which an import is killed: sometimes before its first commit."""

BYTES_OF_AN_EMPTY_STORE = 100_000

LOOK_SECONDS = 0.01
"""Between looks at an import: even a small file takes longer, so that it is seen half done."""

Tick = Callable[[str, float], None]


def guess_columns(file: EventFile, **given: str | None) -> Columns:
    """The columns that are given, and for the others the usual names where the file has them.

    Raises:
        ConfigurationError: no column for the state id or the action.
    """
    present = next(iter(file.records())).values
    found = {name: given.get(name) or (guess if guess in present else None) for name, guess in GUESSES.items()}
    state_id, action = found["state_id"], found["action"]
    if state_id is None or action is None:
        raise ConfigurationError(f"{file.path}: name its columns with --state-id and --action; it has {list(present)}")
    return Columns(state_id=state_id, action=action, time=found["time"])


def crash_import(folder: Path, file: EventFile, columns: Columns, seconds: float, random: Random, tick: Tick) -> Report:
    """Import a file, killing the import for so long and then letting it end; compare every row."""
    url = f"sqlite:///{folder / 'import.db'}"
    started = monotonic()
    kills, failed = _import(folder / "import.db", file, columns, seconds, random, tick)
    took = monotonic() - started
    tick("comparing every row with the file", seconds)
    with open_store(url) as store:
        persister = StateMachinePersister(store, governor=GOVERNOR)
        compared = _compare(persister, _expected(file, columns))
        findings = persister.validate_consistency().findings
    figures = (
        count("kills", "kills (SIGKILL) of the import", kills),
        Figure("seconds", "seconds for it, kills and restarts included", round(took, 1)),
        count("rows", "rows in the file", compared.rows),
        count("streams", "streams they make", compared.streams),
        count("compared", "events found in file order, each as its row says", compared.equal),
        fault("lost", "rows lost", compared.missing),
        fault("duplicates", "events that no row accounts for", compared.extra),
        fault("different", "events unlike their row", compared.different),
        fault("findings", "findings of verify", len(findings)),
        fault("failed_imports", "imports that failed by themselves", failed),
    )
    return Report(title=f"crashing the import of {file.path.name}", figures=figures)


def _import(
    store: Path, file: EventFile, columns: Columns, seconds: float, random: Random, tick: Tick
) -> tuple[int, int]:
    """Run the import until it says that it is done; how often it was killed, and how often it failed."""
    options = [f"--{name.replace('_', '-')}={column}" for name, column in columns.options.items()]
    options += ["--url", f"sqlite:///{store}", "--governor", GOVERNOR]
    started = monotonic()
    kills = failed = 0
    while failed < 3:
        process = start("eventstate", "import", str(file.path), *options)
        life = random.uniform(*PAUSE)
        born = monotonic()
        while process.poll() is None:
            tick(f"{kills} kills, importing", monotonic() - started)
            # The first one dies in its first commits, however fast the machine is.
            is_due = monotonic() - born > life if kills else _has_begun(store)
            if is_due and monotonic() - started < seconds:
                process.kill()
            sleep(LOOK_SECONDS)
        if process.returncode == 0:
            break
        kills += process.returncode < 0
        failed += process.returncode > 0
    return kills, failed


def _has_begun(store: Path) -> bool:
    """Whether rows are on their way into the store, by the size of its log; opening it here would be in the way."""
    log = store.with_name(store.name + "-wal")
    return log.exists() and log.stat().st_size > BYTES_OF_AN_EMPTY_STORE


class Comparison(NamedTuple):
    """Rows against events, stream by stream and in order; ``extra`` counts events anywhere in the store."""

    rows: int
    streams: int
    equal: int
    missing: int
    extra: int
    different: int


Events = dict[str, list[bytes]]


def _expected(file: EventFile, columns: Columns) -> Events:
    """What each stream's events must be, in file order."""
    events: Events = {}
    for record in file.records():
        values = {**record.values, columns.action: str(record.values[columns.action])}
        time = parse_instant(str(values[columns.time])).isoformat() if columns.time is not None else None
        fact = _fact(values[columns.action], columns.state(values), time)
        events.setdefault(str(values[columns.state_id]), []).append(fact)
    return events


def _fact(action: str, state: Any, time: str | None) -> bytes:
    return orjson.dumps([action, state, time], option=orjson.OPT_SORT_KEYS)


def _compare(persister: StateMachinePersister, expected: Events) -> Comparison:
    equal = missing = different = 0
    for state_id, wanted in expected.items():
        found = _found(persister, state_id)
        same = sum(a == b for a, b in zip(wanted, found, strict=False))
        equal += same
        missing += max(0, len(wanted) - len(found))
        different += min(len(wanted), len(found)) - same
    rows = sum(map(len, expected.values()))
    extra = persister.get_stats().total_events - (rows - missing)
    return Comparison(rows, len(expected), equal, missing, extra, different)


def _found(persister: StateMachinePersister, state_id: str) -> list[bytes]:
    try:
        return [
            _fact(event.action, event.to_state, event.occurred_at.isoformat() if event.occurred_at else None)
            for event in persister.history(state_id)
        ]
    except StateNotFoundError:
        return []
