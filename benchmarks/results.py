"""What was measured: the medians of a row of the table, and its ratios to the reference measured right around it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
            "every_ratio": self.ratios,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Row:
        """A row as `to_json` gave it; older files kept the spread of the ratios only."""
        spreads: Mapping[str, Mapping[str, float]] = content["ratios"]
        every = {name: [one["low"], one["median"], one["high"]] for name, one in spreads.items()}
        return cls(
            arm=content["arm"],
            rounds=content["rounds"],
            ratios=content.get("every_ratio", every),
            failures=content["failures"],
            facts=content["facts"],
            extra=content["extra"],
            notes=content["notes"],
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(slots=True, kw_only=True)
class Table:
    """One case with all its rows, the reference first.

    Attributes:
        wanted: the rounds that a run to the end makes; 0 where rounds are not counted.
        done: the rounds made, those with failures too.
    """

    name: str
    title: str
    unit: str
    rows: list[Row]
    wanted: int = 0
    done: int = 0

    @property
    def complete(self) -> bool:
        return self.done >= self.wanted

    def row(self, arm: str) -> Row | None:
        return next((row for row in self.rows if row.arm == arm), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "wanted": self.wanted,
            "done": self.done,
            "rows": [row.to_json() for row in self.rows],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Table:
        return cls(
            name=content["name"],
            title=content["title"],
            unit=content["unit"],
            rows=[Row.from_json(row) for row in content["rows"]],
            wanted=content.get("wanted", 0),
            done=content.get("done", 0),
        )


@dataclass(slots=True, kw_only=True)
class Results:
    """One run: its tables, and the facts about the machine and the mode that belong below them."""

    machine: dict[str, Any]
    tables: list[Table]

    @property
    def complete(self) -> bool:
        return all(table.complete for table in self.tables)

    def table(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)

    def write(self, file: Path) -> None:
        """Write every measurement as JSON; the folder is made where it is missing."""
        content = {"machine": self.machine, "cases": [table.to_json() for table in self.tables]}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Results:
        """A file that `write` made."""
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls(machine=content["machine"], tables=[Table.from_json(one) for one in content["cases"]])
