"""Bounds below which eventstate has become slower: about half of what is measured, because shared machines are noisy.

Raise them as eventstate gets faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from benchmarks.results import Table


class Bound(NamedTuple):
    """The least that the median ratio to the raw limit may be."""

    case: str
    arm: str
    metric: str
    least: float


BOUNDS: Final = (
    Bound("w1-small", "eventstate", "p50_us", 0.15),
    Bound("w1-small", "eventstate, asyncio", "p50_us", 0.10),
    Bound("w1-large", "eventstate", "p50_us", 0.08),
    Bound("w2-tasks-small", "eventstate, asyncio", "rate", 0.06),
    Bound("w2-threads-small", "eventstate", "rate", 0.08),
    Bound("w3-small", "eventstate", "rate", 0.06),
    Bound("w3-small", "eventstate, plain states", "rate", 0.06),
    Bound("w4", "eventstate", "rate", 0.05),
    Bound("w4", "eventstate, plain states", "rate", 0.05),
    Bound("w5-3", "eventstate", "bytes_per_event", 0.70),
    Bound("w8", "eventstate, transactions", "rate", 0.06),
)
ARMS: Final = ("eventstate",)
CASES: Final = tuple(sorted({bound.case for bound in BOUNDS}))


def violations(tables: Sequence[Table]) -> list[str]:
    """One line for each bound that does not hold, or that could not be measured."""
    by_name: Mapping[str, Table] = {table.name: table for table in tables}
    return [line for bound in BOUNDS if (line := _violation(bound, by_name.get(bound.case))) is not None]


def _violation(bound: Bound, table: Table | None) -> str | None:
    row = table.row(bound.arm) if table is not None else None
    measured = row.ratio(bound.metric) if row is not None else None
    if measured is None:
        return f"{bound.case}, {bound.arm}: not measured"
    if measured.median < bound.least:
        return (
            f"{bound.case}, {bound.arm}: {measured.median:.2f} of raw by {bound.metric}, at least {bound.least} wanted"
        )
    return None
