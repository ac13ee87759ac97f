"""The figures as a page of the documentation: ``table.md`` beside the charts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import plots
from benchmarks.goals import reached
from benchmarks.results import Results
from benchmarks.table import GOALS_HEADER, HEADER, LEFT, cells, goal_cells, title

FACTS: Final = ("commit", "mode", "files", "python", "cpus", "load")

EXPLAINED: Final = (
    "`x raw` compares rates (sizes in W5, the median time of a call in W7) with the raw arm measured right before"
    " and after; 1 is equal, more is better. The range of a raw row is the noise."
)


def write(results: Results, folder: Path, cache: Path) -> None:
    """Write ``table.md`` and the charts into a folder; charts that can't be drawn are left out with a message."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(page(results), encoding="utf-8")
    file = cache / "shown.json"
    results.write(file)
    plots.draw(file, folder, cache)


def page(results: Results) -> str:
    """Both tables with a heading, as Markdown."""
    facts = ", ".join(f"{name} {results.machine[name]}" for name in FACTS if name in results.machine)
    goals = [goal_cells(one) for one in reached(results)]
    parts = [
        "# Figures of one run",
        f"One run of `make bench`: {facts}. [What is measured, and how](../../reference/benchmarks.md).",
        "## Goals",
        markdown([GOALS_HEADER, *goals], frozenset({0, 1, 2})),
        "## Figures",
        EXPLAINED,
    ]
    for table in results.tables:
        lines = [cells("", table, row)[1:] for row in table.rows]
        used = [column for column in range(len(lines[0])) if any(line[column] for line in lines)]
        parts.append(f"### {title(table)}")
        left = frozenset(place for place, column in enumerate(used) if column + 1 in LEFT)
        parts.append(markdown([_chosen(line, used) for line in (HEADER[1:], *lines)], left))
    return "\n\n".join(parts) + "\n"


def markdown(lines: Sequence[Sequence[str]], left: Iterable[int]) -> str:
    """A table whose first line is its header."""
    to_the_left = frozenset(left)
    rule = ["---" if place in to_the_left else "---:" for place in range(len(lines[0]))]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (escaped[0], rule, *escaped[1:]))


def _chosen(line: Sequence[str], columns: Sequence[int]) -> list[str]:
    return [line[column] for column in columns]
