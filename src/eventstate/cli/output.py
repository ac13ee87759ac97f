"""What commands print: data on stdout, progress on stderr; without a terminal no colours and no progress."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn
    from rich.table import Table

_PIPE_WIDTH = 200
"""Columns where nobody's window says how many: scripts should find a row on one line."""


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def pretty(value: Any) -> str:
    """JSON for people."""
    return clean(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def compact(value: Any) -> str:
    """JSON on one line for people."""
    return clean(orjson.dumps(value).decode())


def clean(text: str) -> str:
    """Text without control characters, which could steer the terminal it is shown on, and without lone surrogates."""
    if text.isprintable():
        return text
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def count(number: int, noun: str) -> str:
    """A number and what it counts: ``1 stream``, ``1,434 streams``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def console(*, to_stderr: bool = False) -> Console:
    """Where to print. What is printed is text, never markup."""
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> None:
    """A table, of which the last column is folded where it does not fit.

    Args:
        right: the columns that hold numbers.
        optional: columns that a window may be too narrow for: the first of them is left out first, and said to be.
    """
    from rich import box
    from rich.table import Table

    shown = console()
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = _widths(columns, cells)
    left_out: list[str] = []
    while shown.is_terminal and _needed(widths) > shown.width and len(left_out) < len(optional):
        left_out.append(optional[len(left_out)])
        del widths[left_out[-1]]
    fits = _needed(widths) <= shown.width
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in widths:
        is_folded = not fits or column == columns[-1]
        justify = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=not is_folded)
    for row in cells:
        table.add_row(*(cell for column, cell in zip(columns, row, strict=True) if column in widths))
    _print(table)
    if left_out:
        note(f"left out, for the window is too narrow: {', '.join(left_out)}; --json shows all")


_GAP = 3
_LEAST_TEXT = 14
"""Columns that a text gets at least before others are left out."""


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """How wide each column is."""
    from rich.cells import cell_len

    lines = zip(columns, zip(columns, *rows, strict=True), strict=True)
    return {column: max(max(map(cell_len, cell.split("\n"))) for cell in cells) for column, cells in lines}


def _needed(widths: Mapping[str, int]) -> int:
    """The width of a table in which only the last column is folded."""
    *others, last = widths.values()
    return sum(others) + min(last, _LEAST_TEXT) + _GAP * len(others)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(name, clean(value))
    _print(table)


def _print(table: Table) -> None:
    shown = console()
    if shown.is_terminal:
        shown.print(table)
        return
    with shown.capture() as text:
        shown.print(table)
    for line in text.get().splitlines():
        sys.stdout.write(line.rstrip() + "\n")


def print_text(text: str) -> None:
    """Text as it is."""
    sys.stdout.write(clean(text) + "\n")


def note(text: str) -> None:
    """A remark on stderr, which is no data."""
    print(clean(text), file=sys.stderr)


def counter() -> Progress:
    """A progress display on stderr that counts up to an unknown number."""
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    return _progress(
        SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn()
    )


def bar() -> Progress:
    """A progress display on stderr towards a total; the field ``rate`` of a task is shown as it is."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return _progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )


def countdown() -> Progress:
    """A progress display on stderr for something that takes a known time and describes itself."""
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

    return _progress(SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))


def _progress(*columns: ProgressColumn) -> Progress:
    from rich.progress import Progress

    terminal = console(to_stderr=True)
    terminal.quiet = not terminal.is_terminal  # some versions of rich end a disabled display with an empty line
    return Progress(*columns, console=terminal, disable=terminal.quiet, transient=True)
