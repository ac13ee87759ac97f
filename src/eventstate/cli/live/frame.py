"""One picture of the live table, cut to the window's height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eventstate.cli.output import clean

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

HEADING: Final = 2
"""Lines of a section beside its rows: an empty one, and the names of its columns."""

SHORT: Final = 12
"""Characters of a text that is cut only when the long ones beside it are: a status, a time, a number."""

_STYLES: Final = {
    "running": "cyan",
    "in_progress": "cyan",
    "completed": "green",
    "failed": "red",
    "dead": "red",
    "lost": "red",
    "timeout": "yellow",
    "cancelled": "yellow",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the picture.

    Attributes:
        columns: the first one names the section.
        right: the columns that hold numbers.
        total: how many rows there are, of which ``rows`` may be the first ones.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[str] = ()
    total: int = 0

    @property
    def size(self) -> int:
        return max(self.total, len(self.rows))


def fit(sizes: Sequence[int], lines: int) -> list[int]:
    """How many lines each section has for its rows; 0 where it is left out.

    Each has one before any has two, and so on: one with few rows leaves its lines to the others. In a window that is
    too low for all of them the last ones are left out.
    """
    given = [0] * len(sizes)
    for number, size in enumerate(sizes):
        if size and lines > HEADING:
            given[number] = 1
            lines -= HEADING + 1
    while lines > 0:
        wanting = [number for number, size in enumerate(sizes) if 0 < given[number] < size]
        if not wanting:
            break
        for number in wanting[:lines]:
            given[number] += 1
        lines -= len(wanting[:lines])
    return given


def framed(title: str, sections: Sequence[Section], height: int) -> RenderableType:
    """The picture: at most ``height`` lines."""
    from rich.console import Group

    parts: list[RenderableType] = [_line(title, "bold")]
    for section, lines in zip(sections, fit([section.size for section in sections], height - 1), strict=True):
        if lines:
            parts += ["", *_drawn(section, lines)]
    return Group(*parts)


def _drawn(section: Section, lines: int) -> list[RenderableType]:
    """Its columns' names and its rows; if not all of them fit, the last line says how many there are besides."""
    from rich.table import Table

    shown = section.rows[: lines if section.size <= lines else lines - 1]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(section.columns):
        # Where a row is too wide for the window its long texts lose first: an error must not push the status out.
        is_short = all(len(row[number]) <= SHORT for row in shown)
        table.add_column(
            _line(column, ""),
            justify="right" if column in section.right else "left",
            no_wrap=is_short,
            overflow="ellipsis",
        )
    for row in shown:
        table.add_row(*map(_cell, row))
    if len(shown) == section.size:
        return [table]
    return [table, _line(f"and {section.size - len(shown):,} more", "dim")]


def _cell(text: str) -> Text:
    return _line(text, _STYLES.get(text, ""))


def _line(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(" ".join(clean(text).split()), style, no_wrap=True, overflow="ellipsis")
