"""The table of figures and the table of goals, as text."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from benchmarks.goals import Reached
from benchmarks.results import Row, Spread, Table

HEADER: Final = ("workload", "arm", "result", "p50", "p99", "x raw", "(range)", "x raw p50", "per sync", "store, notes")
GOALS_HEADER: Final = ("goal", "reached", "yes or no")
LEFT: Final = frozenset({0, 1, 9})


def render(tables: Sequence[Table]) -> str:
    """All cases below one header."""
    lines: list[Sequence[str]] = [HEADER]
    for table in tables:
        titles = [title(table)] + [""] * (len(table.rows) - 1)
        lines.extend(cells(title, table, row) for title, row in zip(titles, table.rows, strict=True))
    return aligned(lines, LEFT)


def render_goals(standing: Sequence[Reached]) -> str:
    """The goals of what was measured, below a header of their own."""
    return aligned([GOALS_HEADER, *(goal_cells(one) for one in standing)], frozenset({0, 1, 2}))


def goal_cells(one: Reached) -> tuple[str, ...]:
    """A goal, what was reached, and yes or no."""
    return one.goal.text, one.figure, {True: "yes", False: "NO", None: "-"}[one.holds]


def title(table: Table) -> str:
    """What a case measures, and whether it was measured to its end."""
    return table.title if table.complete else f"{table.title} (INCOMPLETE, {table.done} of {table.wanted} rounds)"


def aligned(lines: Sequence[Sequence[str]], left: AbstractSet[int]) -> str:
    """Columns as wide as their widest cell, a rule below the first line; the last column ends where it ends."""
    columns = len(lines[0])
    widths = [max(len(line[column]) for line in lines) for column in range(columns - 1)]
    text = [_aligned(line, widths, left) for line in lines]
    text.insert(1, "-" * max(len(line) for line in text))
    return "\n".join(text)


def _aligned(line: Sequence[str], widths: Sequence[int], left: AbstractSet[int]) -> str:
    cells = [
        cell.ljust(width) if column in left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=False))
    ]
    return "  ".join([*cells, line[-1]]).rstrip()


def cells(title: str, table: Table, row: Row) -> tuple[str, ...]:
    """One line of the table."""
    if not row.rounds:
        unreached = "left out" if table.complete else "not reached"
        return (title, row.arm, *[""] * 7, f"not run: {row.failures[0] if row.failures else unreached}")
    main = row.ratio(main_metric(table))
    return (
        title,
        row.arm,
        _result(table, row),
        _time(row.metric("p50_us")),
        _time(row.metric("p99_us")),
        _ratio(main),
        f"{_number(main.low)}-{_number(main.high)}" if main else "",
        _ratio(row.ratio("p50_us")) if table.name.startswith(("w1", "w7")) else "",
        f"{row.extra['appends_per_sync']:.1f}" if "appends_per_sync" in row.extra else "",
        _notes(table, row),
    )


def main_metric(table: Table) -> str:
    """The metric whose ratio to the raw limit is shown for a case."""
    return {"B/event": "bytes_per_event", "growth": "p50_us"}.get(table.unit, "rate")


def _result(table: Table, row: Row) -> str:
    growth = row.ratio("growth")
    if growth is not None:
        return f"{growth.median:.2f} x the smallest"
    rate, ms = row.metric("rate"), row.metric("ms")
    if rate is not None:
        parts = [f"{ms.median:,.1f} ms"] if ms else []
        if table.unit != "ms":
            parts.append(f"{rate.median:,.0f} {table.unit}")
        return ", ".join(parts)
    size = row.metric("bytes_per_event")
    if size is not None:
        return f"{size.median:,.0f} {table.unit}"
    memory = row.metric("rss_mib")
    assert ms is not None
    assert memory is not None
    return f"{ms.median:,.1f} ms, {memory.median:,.1f} MiB"


def _time(value: Spread | None) -> str:
    if value is None:
        return ""
    return f"{value.median:,.0f} us" if value.median < 10_000 else f"{value.median / 1000:,.1f} ms"


def _ratio(value: Spread | None) -> str:
    return _number(value.median) if value else ""


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def _notes(table: Table, row: Row) -> str:
    facts = row.facts
    store = " ".join(facts[name] for name in ("journal", "synchronous", "sqlite") if name in facts)
    python = facts.get("python", "")
    peak = row.metric("peak_rss_kib") if table.name == "w4" else None
    share = row.metric("slowest_share")
    errors = sum(measured.get("errors", 0) for measured in row.rounds)
    first_error = next((one["first_error"] for one in row.rounds if one.get("first_error")), "")
    notes = [
        store,
        f"Python {python}" if python not in ("", platform.python_version()) else "",
        f"peak {peak.median / 1024:,.0f} MiB" if peak else "",
        f"slowest writer {share.median:.2f} of a fair share" if share else "",
        f"{errors} errors: {first_error}" if errors else "",
        f"{len(row.failures)} rounds failed: {row.failures[0]}" if row.failures else "",
        *row.notes,
    ]
    return "; ".join(note for note in notes if note)
