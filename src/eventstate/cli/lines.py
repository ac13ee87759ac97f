"""One line for each thing that happens, as it happens: columns in colour on a terminal, plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from eventstate.cli.output import clean, console

_WIDEST: Final = 30
"""Columns of text that others are aligned to: one long id must not push all others out of the window."""


class Lines:
    """Prints lines of the same columns.

    On a terminal each is cut to the window, and a column is as wide as the widest of its cells so far. Elsewhere a line
    is its cells, with a space between.

    Args:
        styles: how each column looks in a window.
    """

    def __init__(self, styles: Sequence[str]) -> None:
        self._console = console()
        self._styles = styles
        self._widths = [0] * len(styles)

    def show(self, *cells: str, is_bad: bool = False) -> None:
        """Print a line, at once."""
        texts = [clean(cell) for cell in cells]
        if self._console.is_terminal:
            self._show_columns([" ".join(text.split()) for text in texts], is_bad=is_bad)
        else:
            sys.stdout.write(" ".join(text for text in texts if text) + "\n")
        sys.stdout.flush()

    def _show_columns(self, texts: Sequence[str], *, is_bad: bool) -> None:
        from rich.cells import cell_len
        from rich.text import Text

        line = Text()
        for number, text in enumerate(texts):
            line.append(text, "red" if is_bad else self._styles[number])
            if number < len(texts) - 1:
                width = self._widths[number] = max(self._widths[number], min(cell_len(text), _WIDEST))
                line.append(" " * (max(0, width - cell_len(text)) + 1))
        line.rstrip()
        self._console.print(line, no_wrap=True, overflow="ellipsis")
