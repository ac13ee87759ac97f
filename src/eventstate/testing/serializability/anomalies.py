"""What the checker finds."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """What no serial execution can do. Those on cycles have a second name for cycles that need the clock.

    Edges are *ww* (appended before), *wr* (read what the other appended), *rw* (did not see what the other appended)
    and *realtime* (ended before the other started).
    """

    G0 = "G0"
    """A cycle of ww."""
    G1C = "G1c"
    """A cycle of ww and wr."""
    G_SINGLE = "G-single"
    """A cycle with one rw."""
    G2 = "G2"
    """A cycle with several rw."""
    G0_REALTIME = "G0-realtime"
    G1C_REALTIME = "G1c-realtime"
    G_SINGLE_REALTIME = "G-single-realtime"
    G2_REALTIME = "G2-realtime"

    G1A = "G1a"
    """A committed transaction read a value of an aborted one."""
    G1B = "G1b"
    """A transaction read a list between two appends of another."""
    LOST_UPDATE = "lost-update"
    """Committed transactions read the same version of a list, and each appended to it."""
    LOST_APPEND = "lost-append"
    """The final read does not have a committed value."""
    DUPLICATES = "duplicates"
    """A read has a value more than once."""
    GARBAGE_READ = "garbage-read"
    """A read has a value that nobody appended."""
    INCOMPATIBLE_ORDER = "incompatible-order"
    """Of two reads of a key neither is the beginning of the other."""
    INTERNAL = "internal"
    """A transaction contradicts itself: it misses its own appends, reads them too early, or reads a list anew
    and finds another, or its appends stand in another order than it did them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Why ``source`` comes before ``target`` in every serial order.

    Attributes:
        source, target: ids of transactions.
        kind: ``ww``, ``wr``, ``rw`` or ``realtime``.
        key: the list it is about; None for ``realtime``.
        reason: the same in words.
    """

    source: str
    target: str
    kind: str
    key: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.source} -{self.kind}-> {self.target}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One thing that is wrong with a history.

    Attributes:
        kind: its name.
        transactions: ids of those in it; for a cycle in its order. Empty where only the final read is wrong.
        edges: of a cycle, one from each transaction to the next, and from the last to the first.
        key: the list it is about; None for cycles.
        explanation: what happened, in words.
    """

    kind: Kind
    transactions: Sequence[str]
    explanation: str
    key: str | None = None
    edges: Sequence[Edge] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.explanation}"


def shown(values: Sequence[int]) -> str:
    """A list for an explanation, long ones by their end."""
    if len(values) <= 8:
        return f"[{', '.join(map(str, values))}]"
    return f"[… {', '.join(map(str, values[-6:]))}] ({len(values)} values)"
