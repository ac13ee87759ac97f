"""Where to begin with what happens: the option ``--from`` of commands that follow a store."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from eventstate.errors import InvalidInputError

From = Annotated[str, typer.Option("--from", metavar="PLACE", help="'now', 'beginning', or a position.")]

_LAST: Final = 2**63 - 1
"""No store counts further."""


def parse_place(text: str) -> int | str:
    """The start of a subscription.

    Raises:
        InvalidInputError: a number beyond all positions. Other texts are judged by the subscription.
    """
    if not text.isdecimal():
        return text
    if len(text) > len(str(_LAST)) or int(text) > _LAST:
        raise InvalidInputError(f"--from {text[:40]}: no store has so many events")
    return int(text)
