"""Charts of a run, one per case, where matplotlib is installed."""

# pyright: reportMissingImports=false
from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Row, Spread, Table

OURS, OTHERS = "#1f77b4", "#9aa0a6"


def require() -> None:
    """Raise a SystemExit that says what to do unless matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib")


def plot(tables: Sequence[Table], folder: Path) -> list[Path]:
    """One SVG per case: ratios to the raw limit with their ranges, or milliseconds for imports."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{table.name}.svg" for table in tables]
    for table, file in zip(tables, files, strict=True):
        figure = _figure(plt, table)
        figure.savefig(file)
        plt.close(figure)
    return files


def _figure(pyplot: Any, table: Table) -> Any:
    bars = [(row.arm, value) for row in reversed(table.rows) if (value := _value(table, row)) is not None]
    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(bars) + 1.2), layout="constrained")
    medians = [value.median for _, value in bars]
    ranges = [[value.median - value.low for _, value in bars], [value.high - value.median for _, value in bars]]
    colors = [OURS if "eventstate" in name else OTHERS for name, _ in bars]
    axes.barh([name for name, _ in bars], medians, xerr=ranges, color=colors, capsize=2)
    axes.set_title(table.title)
    if table.name == "w6":
        axes.set_xlabel("ms beyond the bare interpreter")
    else:
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xlabel("ratio to the raw limit, more is better")
    return figure


def _value(table: Table, row: Row) -> Spread | None:
    if table.name == "w6":
        return row.metric("ms")
    return row.ratio("bytes_per_event" if table.unit == "B/event" else "rate")
