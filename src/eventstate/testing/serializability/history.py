"""What a test did: transactions of appends to lists and reads of whole lists."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class Append(NamedTuple):
    """A value was put at the end of a list. No value is appended twice to the same key in a history."""

    key: str
    value: int


class Read(NamedTuple):
    """A whole list was read; it is empty where nothing was appended yet."""

    key: str
    values: tuple[int, ...]


Operation: TypeAlias = Append | Read


class Outcome(enum.StrEnum):
    """What the client knows of its transaction."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    """It did certainly not happen."""
    UNKNOWN = "unknown"
    """It happened or not; or it still will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction as its client saw it.

    Attributes:
        id: unique in the history.
        process: who ran it; for the reader only.
        operations: in the order they were done. Of one that aborted or is unknown: those it meant to do.
        outcome: what the client knows of it.
        started, ended: nanoseconds of a clock that all processes share. It took effect at some moment between them.
            ``ended`` is None where no answer came; that of an unknown transaction is not used.
    """

    id: str
    process: str
    operations: Sequence[Operation]
    outcome: Outcome
    started: int
    ended: int | None
