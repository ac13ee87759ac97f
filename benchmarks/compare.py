"""An older run beside a new one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks.results import HIGHER_IS_BETTER, Results, Row, Table
from benchmarks.table import aligned, main_metric

HEADER: Final = ("workload", "arm", "metric", "before", "now", "x before", "x raw before", "x raw now")
METRICS: Final = ("rate", "p50_us", "ms", "bytes_per_event", "rss_mib")
DIGITS_FROM: Final = 100
"""Figures above it are shown without decimals."""


def render_comparison(before: Results, now: Results) -> str:
    """Each figure that both runs have: the figures, how many times better it is now, and both ratios to raw.

    The ratios to raw say more: each is to raw runs of its own time, while the figures are those of two days.
    """
    lines = [line for table in now.tables for line in _compared(before.table(table.name), table)]
    return aligned([HEADER, *lines], frozenset({0, 1, 2}))


def times_better(metric: str, before: float, now: float) -> float | None:
    """Above 1 where the newer figure is the better one."""
    better, worse = (now, before) if metric in HIGHER_IS_BETTER else (before, now)
    return better / worse if worse else None


def _compared(before: Table | None, now: Table) -> Iterator[tuple[str, ...]]:
    for row in now.rows:
        old = before.row(row.arm) if before is not None else None
        if old is not None:
            yield from _lines(now, old, row)


def _lines(table: Table, old: Row, new: Row) -> Iterator[tuple[str, ...]]:
    for metric in METRICS:
        before, now = old.metric(metric), new.metric(metric)
        if before is None or now is None or (metric == "ms" and main_metric(table) == "rate" and new.metric("rate")):
            continue
        better = times_better(metric, before.median, now.median)
        yield (
            table.title,
            new.arm,
            metric,
            _figure(before.median),
            _figure(now.median),
            f"{better:.2f}" if better is not None else "",
            _ratio(old, metric),
            _ratio(new, metric),
        )


def _ratio(row: Row, metric: str) -> str:
    value = row.ratio(metric)
    return f"{value.median:.2f}" if value is not None else ""


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= DIGITS_FROM else f"{value:.1f}"
