"""The one table, as text."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Final

from benchmarks.results import Row, Spread, Table

HEADER: Final = ("workload", "arm", "result", "p50", "p99", "x raw", "(range)", "x raw p50", "per sync", "store, notes")
LEFT: Final = frozenset({0, 1, 9})


def render(tables: Sequence[Table]) -> str:
    """All cases below one header."""
    lines: list[Sequence[str]] = [HEADER]
    for table in tables:
        titles = [table.title] + [""] * (len(table.rows) - 1)
        lines.extend(_cells(title, table, row) for title, row in zip(titles, table.rows, strict=True))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER) - 1)]
    text = [_aligned(line, widths) for line in lines]
    text.insert(1, "-" * max(len(line) for line in text))
    return "\n".join(text)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column in LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=False))
    ]
    return "  ".join([*cells, line[-1]]).rstrip()


def _cells(title: str, table: Table, row: Row) -> tuple[str, ...]:
    if not row.rounds:
        return (title, row.arm, *[""] * 7, f"not run: {row.failures[0] if row.failures else 'left out'}")
    main = row.ratio("bytes_per_event" if table.unit == "B/event" else "rate")
    return (
        title,
        row.arm,
        _result(table, row),
        _time(row.metric("p50_us")),
        _time(row.metric("p99_us")),
        _ratio(main),
        f"{_number(main.low)}-{_number(main.high)}" if main else "",
        _ratio(row.ratio("p50_us")) if table.name.startswith("w1") else "",
        f"{row.extra['appends_per_sync']:.1f}" if "appends_per_sync" in row.extra else "",
        _notes(table, row),
    )


def _result(table: Table, row: Row) -> str:
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
    errors = sum(measured.get("errors", 0) for measured in row.rounds)
    first_error = next((one["first_error"] for one in row.rounds if one.get("first_error")), "")
    notes = [
        store,
        f"Python {python}" if python not in ("", platform.python_version()) else "",
        f"peak {peak.median / 1024:,.0f} MiB" if peak else "",
        f"{errors} errors: {first_error}" if errors else "",
        f"{len(row.failures)} rounds failed: {row.failures[0]}" if row.failures else "",
        *row.notes,
    ]
    return "; ".join(note for note in notes if note)
