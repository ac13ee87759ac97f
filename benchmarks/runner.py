"""Measures cases round by round; the reference is measured before and after every two arms."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

from benchmarks.cases import Case
from benchmarks.environments import EnvironmentFailed, interpreter, is_ready
from benchmarks.part import Places
from benchmarks.processes import MeasurementFailed, measure
from benchmarks.progress import Progress, Step
from benchmarks.protocol import Request
from benchmarks.registry import Arm
from benchmarks.results import Row, Table, ratio
from benchmarks.seeds import Seeds
from benchmarks.syncs import appends_per_sync

METRICS: Final = ("rate", "p50_us", "p99_us", "ms", "bytes_per_event")
TOGETHER: Final = 2
"""Arms between two measurements of the reference. In every other round the second of them goes first."""

PATIENCE: Final = 2
"""An arm that failed so often in a case is not tried again in it: each time may last until the time is up."""

THOUGHT: Final[Mapping[str, float]] = {
    "append": 0.6,
    "concurrent": 1.6,
    "processes": 2.2,
    "rebuild": 0.9,
    "recover": 1.5,
    "contended": 1.6,
    "size": 0.0,
}
"""Seconds of one measurement with the start of its process, until it is known better."""


class Runner:
    """One run of these cases. ``progress`` is told before each measurement what comes."""

    def __init__(self, cases: Sequence[Case], places: Places, progress: Progress) -> None:
        self._cases = cases
        self._places = places
        self._progress = progress
        self._seeds = Seeds(cache=places.cache)
        self._numbers = count()
        self._broken: dict[str, str] = {}  # per environment: why it can't be used
        self._unseeded: dict[tuple[str, str], str] = {}  # per case and arm: why there is no data to read
        self._by_name = {case.name: _empty_table(case) for case in cases}

    @property
    def tables(self) -> Sequence[Table]:
        return list(self._by_name.values())

    def steps(self) -> list[Step]:
        """Environments and data that are missing, then the rounds, then the counting of syncs."""
        steps: list[Step] = []
        for environment in self._environments():
            ready = is_ready(environment, self._places.cache)
            steps.append(Step(f"environment {environment}", 1, 0.1 if ready else 20.0, "preparation"))
        for case in self._cases:
            arms = (case.reference, *case.arms)
            if case.seeded:
                steps.extend(Step(_data(case, arm), 1, self._seeds.seconds(arm, case), "preparation") for arm in arms)
            thought = THOUGHT[case.workload]
            rounds = [[arm for arm in case.arms if case.takes_part(arm, number)] for number in range(case.rounds)]
            steps.extend(Step(_step(case, arm), sum(arm in part for part in rounds), thought) for arm in case.arms)
            references = sum(len(groups(taking_part)) + 1 for taking_part in rounds)
            steps.append(Step(_step(case, case.reference), references, thought))
            if case.count_syncs:
                steps.append(Step(f"{case.name} syncs", len(arms), thought + 0.5))
        return steps

    def run(self) -> None:
        """Environments and seeds first, then all rounds of all cases, round after round, then the sync counts."""
        self._prepare()
        for number in range(max((case.rounds for case in self._cases), default=0)):
            for case in self._cases:
                if number < case.rounds:
                    self._round(case, number)
                    self._by_name[case.name].done = number + 1
        for case in self._cases:
            if case.count_syncs:
                self._count_syncs(case)

    def _environments(self) -> list[str]:
        return sorted({arm.environment for case in self._cases for arm in (case.reference, *case.arms)})

    def _prepare(self) -> None:
        """Leave nothing slow to do between two measurements; what fails here is noted in each round."""
        for environment in self._environments():
            self._progress(f"environment {environment}", f"environment {environment}")
            try:
                interpreter(environment, self._places.cache)
            except Exception as error:
                self._broken[environment] = reason(error)
        for case in self._cases:
            for arm in (case.reference, *case.arms) if case.seeded else ():
                self._progress(_data(case, arm), f"{case.title}, data: {arm.name}")
                if arm.environment not in self._broken:
                    self._seed(case, arm)

    def _seed(self, case: Case, arm: Arm) -> None:
        try:
            self._seeds.get(arm, case, interpreter(arm.environment, self._places.cache))
        except Exception as error:
            self._unseeded[case.name, arm.name] = reason(error)

    def _round(self, case: Case, number: int) -> None:
        """The reference, some arms, the reference, the next arms, ..., the reference."""
        ready = groups([arm for arm in case.arms if case.takes_part(arm, number) and self._usable(case, arm)])
        shift = number % len(ready) if ready else 0  # no arm always runs at the same place
        before = self._measure(case, case.reference, number)
        earlier: Mapping[str, Any] | None = None
        for group in ready[shift:] + ready[:shift]:
            ordered = group if number % 2 == 0 else group[::-1]
            measured = [(arm, self._measure(case, arm, number)) for arm in ordered]
            after = self._measure(case, case.reference, number)
            for arm, answer in measured:
                if answer is not None:
                    self._row(case, arm).add(answer, _ratios(answer, before, after))
            if before is not None:
                self._row(case, case.reference).add(before, _ratios(before, earlier, after))
            earlier, before = before, after
        if before is not None:
            self._row(case, case.reference).add(before, _ratios(before, earlier, earlier))

    def _measure(self, case: Case, arm: Arm, number: int) -> dict[str, Any] | None:
        row = self._row(case, arm)
        if len(row.failures) >= PATIENCE and not row.rounds:
            self._progress.drop(_step(case, arm))
            return None
        self._progress(_step(case, arm), f"{case.title}, round {number + 1}/{case.rounds}: {arm.name}")
        try:
            return self._answer(case, arm)
        except Exception as error:
            row.failures.append(reason(error))
            return None

    def _usable(self, case: Case, arm: Arm) -> bool:
        known = self._broken.get(arm.environment) or self._unseeded.get((case.name, arm.name))
        if known is None:
            return True
        if known not in self._row(case, arm).failures:
            self._row(case, arm).failures.append(known)
        self._progress.drop(_step(case, arm))
        return False

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
            shutil.rmtree(folder, ignore_errors=True)

    def _count_syncs(self, case: Case) -> None:
        for arm in (case.reference, *case.arms):
            row = self._row(case, arm)
            if not row.rounds:
                self._progress.drop(f"{case.name} syncs")
                continue
            self._progress(f"{case.name} syncs", f"{case.title}, syncs: {arm.name}")
            folder = self._places.data / str(next(self._numbers))
            folder.mkdir()
            try:
                python = interpreter(arm.environment, self._places.cache)
                row.extra["appends_per_sync"] = appends_per_sync(python, request(case, arm, folder / "store.db"))
            except Exception as error:
                row.notes.append(f"syncs not counted: {reason(error)}")
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _row(self, case: Case, arm: Arm) -> Row:
        row = self._by_name[case.name].row(arm.name)
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
    return Table(name=case.name, title=case.title, unit=case.unit, rows=rows, wanted=case.rounds)


def groups(arms: Sequence[Arm]) -> list[list[Arm]]:
    """What is measured between two measurements of the reference."""
    return [list(arms[index : index + TOGETHER]) for index in range(0, len(arms), TOGETHER)]


def reason(error: Exception) -> str:
    """Why there is no measurement, in one line: failures that were foreseen say it themselves."""
    if isinstance(error, MeasurementFailed | EnvironmentFailed):
        return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _step(case: Case, arm: Arm) -> str:
    return f"{case.name}: {arm.name}"


def _data(case: Case, arm: Arm) -> str:
    return f"{case.name} data: {arm.name}"


def _ratios(
    measured: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> dict[str, float | None]:
    if before is None or after is None:
        return {}
    return {metric: ratio(metric, measured, before, after) for metric in METRICS}
