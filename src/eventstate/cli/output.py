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
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None, right: Sequence[str] = ()
) -> None:
    """A table; the columns named in ``right`` hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(clean(cell) for cell in row))
    _print(table)


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
