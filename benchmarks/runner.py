"""Measures cases round by round; each measurement of an arm stands between two of the reference."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from benchmarks.cases import Case
from benchmarks.environments import EnvironmentFailed, interpreter
from benchmarks.processes import MeasurementFailed, measure
from benchmarks.protocol import Request
from benchmarks.registry import Arm
from benchmarks.results import Row, Table, ratio
from benchmarks.seeds import Seeds
from benchmarks.syncs import appends_per_sync

METRICS: Final = ("rate", "p50_us", "p99_us", "ms", "bytes_per_event")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """``cache`` is kept between runs; ``data`` is where measured files lie; both are made by the caller."""

    cache: Path
    data: Path
    scratch: Path


class Runner:
    """One run. ``progress`` is told before each measurement what comes."""

    def __init__(self, cases: list[Case], places: Places, progress: Callable[[str], None]) -> None:
        self._cases = cases
        self._places = places
        self._progress = progress
        self._seeds = Seeds(cache=places.cache, scratch=places.scratch)
        self._numbers = count()
        self._broken: dict[str, str] = {}  # per environment: why it can't be used
        self._unseeded: dict[tuple[str, str], str] = {}  # per case and arm: why there is no data to read
        self.tables = {case.name: _empty_table(case) for case in cases}

    def steps(self) -> int:
        """How many measurements `run` makes, for the progress line."""
        in_rounds = sum(case.rounds * (2 * len(case.arms) + 1) for case in self._cases)
        once = sum((len(case.arms) + 1) * (case.count_syncs + case.seeded) for case in self._cases)
        return in_rounds + once + len(self._environments())

    def run(self) -> list[Table]:
        """Environments and seeds first, then all rounds of all cases, round after round, then the sync counts."""
        self._prepare()
        for number in range(max((case.rounds for case in self._cases), default=0)):
            for case in self._cases:
                if number < case.rounds:
                    self._round(case, number)
        for case in self._cases:
            if case.count_syncs:
                self._count_syncs(case)
        return list(self.tables.values())

    def _environments(self) -> list[str]:
        return sorted({arm.environment for case in self._cases for arm in (case.reference, *case.arms)})

    def _prepare(self) -> None:
        """Leave nothing slow to do between two measurements; what fails here is noted in each round."""
        for environment in self._environments():
            self._progress(f"environment {environment}")
            try:
                interpreter(environment, self._places.cache)
            except EnvironmentFailed as error:
                self._broken[environment] = str(error)
        for case in self._cases:
            for arm in (case.reference, *case.arms) if case.seeded else ():
                self._progress(f"{case.title}, data: {arm.name}")
                if arm.environment not in self._broken:
                    self._seed(case, arm)

    def _seed(self, case: Case, arm: Arm) -> None:
        try:
            self._seeds.get(arm, case, interpreter(arm.environment, self._places.cache))
        except MeasurementFailed as error:
            self._unseeded[case.name, arm.name] = str(error)

    def _round(self, case: Case, number: int) -> None:
        ready = [arm for arm in case.arms if self._usable(case, arm)]
        shift = number % len(ready) if ready else 0  # no arm always runs at the same place
        before = self._measure(case, case.reference, number)
        earlier: Mapping[str, Any] | None = None
        for arm in ready[shift:] + ready[:shift]:
            measured = self._measure(case, arm, number)
            after = self._measure(case, case.reference, number)
            if measured is not None:
                self._row(case, arm).add(measured, _ratios(measured, before, after))
            if before is not None:
                self._row(case, case.reference).add(before, _ratios(before, earlier, after))
            earlier, before = before, after
        if before is not None:
            self._row(case, case.reference).add(before, _ratios(before, earlier, earlier))

    def _measure(self, case: Case, arm: Arm, number: int) -> dict[str, Any] | None:
        self._progress(f"{case.title}, round {number + 1}/{case.rounds}: {arm.name}")
        row = self._row(case, arm)
        try:
            return self._answer(case, arm)
        except MeasurementFailed as error:
            row.failures.append(str(error))
            return None

    def _usable(self, case: Case, arm: Arm) -> bool:
        known = self._broken.get(arm.environment) or self._unseeded.get((case.name, arm.name))
        if known is not None:
            self._row(case, arm).failures.append(known)
        return known is None

    def _answer(self, case: Case, arm: Arm) -> dict[str, Any]:
        python = interpreter(arm.environment, self._places.cache)
        if case.workload == "size":
            return {"bytes_per_event": self._seeds.get(arm, case, python).bytes_per_event}
        if case.seeded:
            return measure(python, request(case, arm, self._seeds.get(arm, case, python).path))
        folder = self._places.data / str(next(self._numbers))
        folder.mkdir()
        try:
            return measure(python, request(case, arm, folder / "store.db"))
        finally:
            shutil.rmtree(folder)

    def _count_syncs(self, case: Case) -> None:
        for arm in (case.reference, *case.arms):
            self._progress(f"{case.title}, syncs: {arm.name}")
            row = self._row(case, arm)
            if not row.rounds:
                continue
            folder = self._places.data / str(next(self._numbers))
            folder.mkdir()
            try:
                python = interpreter(arm.environment, self._places.cache)
                row.extra["appends_per_sync"] = appends_per_sync(python, request(case, arm, folder / "store.db"))
            except MeasurementFailed as error:
                row.notes.append(f"syncs not counted: {error}")
            finally:
                shutil.rmtree(folder)

    def _row(self, case: Case, arm: Arm) -> Row:
        row = self.tables[case.name].row(arm.name)
        assert row is not None
        return row


def request(case: Case, arm: Arm, path: Path) -> Request:
    """What a child is asked for one measurement of this case."""
    assert case.workload != "size"
    return Request(
        workload=case.workload,
        module=arm.module,
        style=arm.style,
        variant=arm.variant,
        path=str(path),
        size=case.size,
        machines=case.machines,
        events=case.events,
        snapshot_every=case.snapshot_every,
        seconds=case.seconds,
        repeat=case.repeat,
    )


def _empty_table(case: Case) -> Table:
    rows = [Row(arm=arm.name) for arm in (case.reference, *case.arms)]
    return Table(name=case.name, title=case.title, unit=case.unit, rows=rows)


def _ratios(
    measured: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> dict[str, float | None]:
    if before is None or after is None:
        return {}
    return {metric: ratio(metric, measured, before, after) for metric in METRICS}
