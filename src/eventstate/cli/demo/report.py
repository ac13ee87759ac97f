"""What a demonstration found, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Figure(NamedTuple):
    """One number of a report. ``is_fault``: it should have been 0."""

    name: str
    text: str
    value: float
    is_fault: bool = False


def count(name: str, text: str, value: int) -> Figure:
    """A number that may be anything."""
    return Figure(name, text, value)


def fault(name: str, text: str, value: int) -> Figure:
    """A number that must be 0."""
    return Figure(name, text, value, is_fault=value != 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of a demonstration in the order they are shown."""

    title: str
    figures: Sequence[Figure]

    @property
    def is_good(self) -> bool:
        return not any(figure.is_fault for figure in self.figures)


def print_report(report: Report, *, as_json: bool) -> None:
    """Show it on stdout."""
    from eventstate.cli.output import print_json, print_table, print_text

    if as_json:
        print_json({"is_good": report.is_good, **{f.name: f.value for f in report.figures}})
        return
    rows = [(figure.text, _shown(figure)) for figure in report.figures]
    print_table((report.title, ""), rows, right=("",))
    print_text("\nnothing lost, nothing doubled" if report.is_good else "\nFAILED: see the marked lines")


def _shown(figure: Figure) -> str:
    number = f"{figure.value:,}" if isinstance(figure.value, int) else f"{figure.value:,.1f}"
    return f"{number} !" if figure.is_fault else number
