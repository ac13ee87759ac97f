"""W7: whether an append or a load costs more in a large store than in a small one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import registry as arms
from benchmarks.cases import SNAPSHOT_EVERY, Case
from benchmarks.environments import OWN, interpreter
from benchmarks.part import Places
from benchmarks.processes import measure
from benchmarks.progress import Progress, Step
from benchmarks.protocol import Request
from benchmarks.registry import Arm
from benchmarks.results import Row, Table
from benchmarks.runner import reason, request
from benchmarks.seeds import Seeds

ARMS: Final = (arms.RAW, arms.OURS_BULK)
CALLS: Final = 100
"""Appends, and as many loads, in each store in each round."""

TIMEOUT: Final = 600.0


class Size(NamedTuple):
    """A store before it is measured."""

    label: str
    machines: int
    events: int


SIZES: Final = (
    Size("1,000 events", 100, 10),
    Size("10,000 events", 100, 100),
    Size("100,000 events", 100, 1_000),
    Size("1,000,000 events", 100, 10_000),
    Size("100,000 machines", 100_000, 1),
)
OPERATIONS: Final[Mapping[str, str]] = {"append": "W7 append", "load": "W7 load the current state"}


class Growth:
    """All sizes of all arms in one process, block by block in turn, so that what the machine does meets all alike."""

    def __init__(self, *, rounds: int, names: Sequence[str], places: Places, progress: Progress) -> None:
        chosen = [arm for arm in ARMS if not names or arm is arms.RAW or any(name in arm.name for name in names)]
        self._stores = [(size, arm) for size in SIZES for arm in chosen]
        self._rounds = rounds
        self._places = places
        self._progress = progress
        self._tables = {
            operation: Table(
                name=f"w7-{operation}",
                title=f"{title}, 200 B",
                unit="growth",
                rows=[Row(arm=row_name(arm, size)) for size, arm in self._stores],
                wanted=rounds,
            )
            for operation, title in OPERATIONS.items()
        }

    @property
    def tables(self) -> Sequence[Table]:
        return list(self._tables.values())

    def steps(self) -> list[Step]:
        seeds = Seeds(cache=self._places.cache)
        data = sum(seeds.seconds(arm, seed_case(size, arm)) for size, arm in self._stores)
        return [
            Step("w7 data", len(self._stores), data / len(self._stores) + 0.3, "preparation"),
            Step("w7", 1, self._rounds * len(self._stores) * CALLS * 0.0007),
        ]

    def run(self) -> None:
        parts = {store: part for store in self._stores if (part := self._prepared(*store)) is not None}
        self._progress("w7", f"W7 growth, {self._rounds} rounds")
        if parts:
            try:
                self._note(list(parts), self._measure(list(parts.values())))
            except Exception as error:
                self._fail(parts, error)
        for table in self._tables.values():
            table.done = self._rounds

    def _prepared(self, size: Size, arm: Arm) -> Request | None:
        self._progress("w7 data", f"W7 growth, data: {row_name(arm, size)}")
        try:
            return self._copy(size, arm)
        except Exception as error:
            self._fail([(size, arm)], error)
            return None

    def _fail(self, stores: Iterable[tuple[Size, Arm]], error: Exception) -> None:
        for size, arm in stores:
            for table in self._tables.values():
                _row(table, size, arm).failures.append(reason(error))

    def _copy(self, size: Size, arm: Arm) -> Request:
        """A copy of the seed, already on the disk: it must not be written back while something is measured."""
        case = seed_case(size, arm)
        seed = Seeds(cache=self._places.cache).get(arm, case, interpreter(OWN, self._places.cache))
        folder = self._places.data / f"growth-{arm.module}-{size.machines}x{size.events}"
        shutil.copytree(seed.path.parent, folder)
        sync(folder)
        return replace(request(case, arm, folder / seed.path.name), workload="growth")

    def _measure(self, parts: Sequence[Request]) -> Mapping[str, Any]:
        asked = replace(parts[0], repeat=self._rounds, events=CALLS, parts=tuple(parts))
        return measure(interpreter(OWN, self._places.cache), asked, timeout=TIMEOUT)

    def _note(self, stores: Sequence[tuple[Size, Arm]], answer: Mapping[str, Any]) -> None:
        for measured in answer["rounds"]:
            for operation, table in self._tables.items():
                figures = {store: one[operation] for store, one in zip(stores, measured, strict=True)}
                for store, facts in zip(stores, answer["facts"], strict=True):
                    size, arm = store
                    ratios = {
                        "p50_us": _ratio(figures.get((size, arms.RAW)), figures[store]),
                        "growth": _ratio(figures[store], figures.get((SIZES[0], arm))),
                    }
                    _row(table, size, arm).add({**figures[store], "facts": facts}, ratios)


def _ratio(first: Mapping[str, float] | None, second: Mapping[str, float] | None) -> float | None:
    return first["p50_us"] / second["p50_us"] if first is not None and second is not None else None


def _row(table: Table, size: Size, arm: Arm) -> Row:
    row = table.row(row_name(arm, size))
    assert row is not None
    return row


def row_name(arm: Arm, size: Size) -> str:
    return f"{arm.name}, {size.label}"


def seed_case(size: Size, arm: Arm) -> Case:
    return Case(
        name="w7",
        title="W7 growth",
        workload="growth",
        unit="growth",
        reference=arm,
        arms=(),
        rounds=1,
        machines=size.machines,
        events=size.events,
        snapshot_every=SNAPSHOT_EVERY,
    )


def sync(folder: Path) -> None:
    for path in folder.iterdir():
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.close(file)
