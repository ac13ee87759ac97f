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
    from rich.progress import Progress

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
    """Text without control characters, which could steer the terminal it is shown on."""
    return "".join(c if c == "\n" or unicodedata.category(c) != "Cc" else "\N{REPLACEMENT CHARACTER}" for c in text)


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

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(clean(cell) for cell in row))
    console().print(table)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(name, clean(value))
    console().print(table)


def print_text(text: str) -> None:
    """Text as it is."""
    sys.stdout.write(clean(text) + "\n")


def note(text: str) -> None:
    """A remark on stderr, which is no data."""
    print(clean(text), file=sys.stderr)


def progress(*, rate: str | None = None, known_total: bool = True) -> Progress:
    """A progress display on stderr; ``rate`` names what is counted per second."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    terminal = console(to_stderr=True)
    parts: list[Any] = [SpinnerColumn(), TextColumn("{task.description}")]
    if known_total:
        parts += [BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f}")]
    else:
        parts += [TextColumn("{task.completed:,.0f}")]
    if rate is not None:
        parts.append(TextColumn("{task.fields[rate]} " + rate + "/s"))
    parts.append(TimeElapsedColumn())
    if known_total:
        parts.append(TimeRemainingColumn())
    return Progress(*parts, console=terminal, disable=not terminal.is_terminal, transient=True)
