"""What was measured: the medians of a row of the table, and its ratios to the reference measured right around it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

HIGHER_IS_BETTER = frozenset({"rate"})


class Spread(NamedTuple):
    """Median, lowest and highest of several rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread | None:
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def ratio(
    metric: str, measured: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> float | None:
    """How well a measurement does against the mean of its two neighbours: 1 is equal, more is better.

    None where the metric is missing.
    """
    if not (metric in measured and metric in before and metric in after):
        return None
    reference = (before[metric] + after[metric]) / 2
    better, worse = (measured[metric], reference) if metric in HIGHER_IS_BETTER else (reference, measured[metric])
    return better / worse if worse else None


@dataclass(slots=True, kw_only=True)
class Row:
    """One arm in one case.

    Attributes:
        rounds: the measurements as the children gave them.
        ratios: per metric, one ratio to the reference per round.
        failures: why rounds gave no measurement.
        facts: durability settings read on the live connection, versions.
        extra: figures measured once, such as ``appends_per_sync``.
    """

    arm: str
    rounds: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ratios: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    failures: list[str] = field(default_factory=list[str])
    facts: dict[str, str] = field(default_factory=dict[str, str])
    extra: dict[str, float] = field(default_factory=dict[str, float])
    notes: list[str] = field(default_factory=list[str])

    def add(self, measured: dict[str, Any], ratios: Mapping[str, float | None]) -> None:
        self.rounds.append(measured)
        for metric, value in ratios.items():
            if value is not None:
                self.ratios.setdefault(metric, []).append(value)
        self.facts.update(measured.get("facts", {}))
        if "python" in measured:
            self.facts["python"] = measured["python"]

    def metric(self, name: str) -> Spread | None:
        """Over the rounds; None where no round gave it."""
        return spread([measured[name] for measured in self.rounds if name in measured])

    def ratio(self, name: str) -> Spread | None:
        return spread(self.ratios.get(name, []))

    def to_json(self) -> dict[str, Any]:
        names = sorted({name for measured in self.rounds for name, value in measured.items() if _is_number(value)})
        return {
            "arm": self.arm,
            "status": "ran" if self.rounds else "not run",
            "medians": {name: one.median for name in names if (one := self.metric(name)) is not None},
            "ratios": {name: one._asdict() for name in self.ratios if (one := self.ratio(name)) is not None},
            "extra": self.extra,
            "facts": self.facts,
            "failures": self.failures,
            "notes": self.notes,
            "rounds": self.rounds,
        }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(slots=True, kw_only=True)
class Table:
    """One case with all its rows, the reference first."""

    name: str
    title: str
    unit: str
    rows: list[Row]

    def row(self, arm: str) -> Row | None:
        return next((row for row in self.rows if row.arm == arm), None)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "unit": self.unit, "rows": [row.to_json() for row in self.rows]}
