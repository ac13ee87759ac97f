"""Charts of a run, one SVG per workload: `python -m benchmarks.plots RESULTS.json FOLDER`, where there is matplotlib.

`draw` does so in an environment of its own, which is made where this interpreter has no matplotlib.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.environments import CHARTS, interpreter
from benchmarks.goals import kind
from benchmarks.processes import call
from benchmarks.results import Results, Row, Spread, Table

RAW: Final = "#4d4d4d"
COLOURS: Final = (  # the first whose name an arm begins with
    ("eventstate, plain states", "#6baed6"),
    ("eventstate, asyncio", "#08519c"),
    ("eventstate, store", "#6baed6"),
    ("eventstate", "#2171b5"),
    ("eventsourcing", "#fd8d3c"),
    ("eventsource-py", "#74c476"),
    ("langgraph, asyncio", "#c5b0d5"),
    ("langgraph", "#9467bd"),
    ("dbos", "#8c6d5a"),
    ("raw", RAW),
)
OTHERS: Final = "#9aa0a6"
LOGARITHMIC_FROM: Final = 20
"""Where the largest figure is so many times the smallest, the axis is logarithmic."""


class Figure(NamedTuple):
    """What the bars of a case are."""

    metric: str
    label: str


RATE: Final = Figure("rate", "{unit}, more is better")
TIME: Final = Figure("ms", "ms, less is better")
SIZE: Final = Figure("bytes_per_event", "bytes per event, less is better")


def draw(file: Path, folder: Path, cache: Path) -> None:
    """Draw the charts of results written to ``file``.

    Raises:
        EnvironmentFailed, MeasurementFailed: matplotlib can't be had, or the drawing failed.
    """
    python = Path(sys.executable) if importlib.util.find_spec("matplotlib") else interpreter(CHARTS, cache)
    output, errors = call(
        [str(python), "-m", "benchmarks.plots", str(file.resolve()), str(folder.resolve())], "", timeout=300
    )
    if not output.strip():
        print(f"no charts: {(errors.strip().splitlines() or ['nothing was drawn'])[-1]}", file=sys.stderr)


def main() -> None:
    file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for drawn in plot(Results.read(file).tables, folder):
        print(drawn)


def workloads(tables: Sequence[Table]) -> dict[str, list[Table]]:
    """Tables with something in them by workload: ``w1`` has ``w1-small`` and ``w1-large``."""
    found: dict[str, list[Table]] = {}
    for table in tables:
        if any(row.rounds for row in table.rows):
            found.setdefault(table.name.split("-")[0], []).append(table)
    return found


def plot(tables: Sequence[Table], folder: Path) -> list[Path]:
    """One file per workload."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "eventstate", "font.size": 9})
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for name, group in workloads(tables).items():
        figure = _lines(plt, group) if name == "w7" else _panels(plt, group)
        files.append(folder / f"{name}.svg")
        figure.savefig(files[-1], metadata={"Date": None})
        plt.close(figure)
    return files


def colour(arm: str) -> str:
    return next((colour for name, colour in COLOURS if arm.startswith(name)), OTHERS)


def figure_of(table: Table) -> Figure:
    if table.unit == "B/event":
        return SIZE
    return TIME if table.unit == "ms" or table.name == "w4" else RATE


def _panels(pyplot: Any, tables: Sequence[Table]) -> Any:
    """One panel of bars below the other, each bar as thick as in the others."""
    shown = [(table, _bars(table)) for table in tables]
    heights = [len(bars) + 1.6 for _, bars in shown]
    figure, all_axes = pyplot.subplots(
        len(shown),
        1,
        figsize=(8, 0.3 * sum(heights) + 0.3),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )
    for axes, (table, bars) in zip(all_axes[:, 0], shown, strict=True):
        _draw_bars(axes, table, bars)
    return figure


def _bars(table: Table) -> list[tuple[str, Spread]]:
    metric = figure_of(table).metric
    rows = table.rows if table.name != "w6" else [row for row in table.rows if row.arm != "bare interpreter"]
    return [(row.arm, value) for row in reversed(rows) if (value := row.metric(metric)) is not None]


def _draw_bars(axes: Any, table: Table, bars: Sequence[tuple[str, Spread]]) -> None:
    medians = [value.median for _, value in bars]
    ranges = [[value.median - value.low for _, value in bars], [value.high - value.median for _, value in bars]]
    axes.barh(
        [name for name, _ in bars],
        medians,
        xerr=ranges,
        color=[colour(name) for name, _ in bars],
        error_kw={"elinewidth": 0.8, "ecolor": "#222222", "capsize": 2},
    )
    smallest = min(value for value in medians if value > 0)
    logarithmic = max(medians) > LOGARITHMIC_FROM * smallest
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(left=smallest / 2)
    for place, (name, value) in enumerate(bars):
        axes.annotate(_label(table, name, value), (value.high, place), (4, 0), textcoords="offset points", va="center")
    axes.margins(x=0.25)
    axes.set_title(table.title, loc="left", fontsize=10, fontweight="bold")
    if not logarithmic:
        axes.xaxis.set_major_formatter("{x:,.0f}")
    unit = {"/s": "appends per second", "machines/s": "machines per second"}.get(table.unit, table.unit)
    axes.set_xlabel(figure_of(table).label.format(unit="increments per second" if table.name == "w8" else unit))
    axes.spines[["top", "right"]].set_visible(False)


def _lines(pyplot: Any, tables: Sequence[Table]) -> Any:
    """The p50 by the size of the store, one line per arm; the store with many machines is a mark beside its lines."""
    figure, all_axes = pyplot.subplots(1, len(tables), figsize=(8, 3), layout="constrained", squeeze=False)
    for axes, table in zip(all_axes[0], tables, strict=True):
        for arm in ("raw", "eventstate"):
            rows = [row for row in table.rows if kind(row.arm) == arm and row.metric("p50_us") is not None]
            _draw_line(axes, arm, [row for row in rows if row.arm.endswith(" events")])
            many = next((row for row in rows if row.arm.endswith(" machines")), None)
            if many is not None:
                axes.plot([stored(many)], [_p50(many)], "D", color=colour(arm), markerfacecolor="white")
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_title(table.title, loc="left", fontsize=10, fontweight="bold")
        axes.set_ylabel("p50, microseconds")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.supxlabel("events in the store (diamonds: as many machines with one event each)", fontsize=9)
    return figure


def _draw_line(axes: Any, arm: str, rows: Sequence[Row]) -> None:
    axes.plot([stored(row) for row in rows], [_p50(row) for row in rows], "o-", color=colour(arm), label=arm)


def stored(row: Row) -> int:
    """Events in the store that a row of W7 is about."""
    return int(row.arm.partition(", ")[2].split()[0].replace(",", ""))


def _p50(row: Row) -> float:
    value = row.metric("p50_us")
    assert value is not None
    return value.median


def _label(table: Table, arm: str, value: Spread) -> str:
    """The figure, and the ratio to the raw limit, on which the noise of the machine has less effect."""
    row = table.row(arm)
    ratio = row.ratio(figure_of(table).metric) if row is not None and row is not table.rows[0] else None
    return _number(value.median) + (f"  ({ratio.median:.2f} x raw)" if ratio is not None else "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    main()
