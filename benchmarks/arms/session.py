"""The interface between the workloads and one library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from benchmarks.payloads import Size, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A seeded store: ``machines`` named `machine_name(0..)`, each with ``events`` events.

    ``snapshot_every`` is 0 for none.
    """

    machines: int
    events: int
    size: Size
    snapshot_every: int = 0


def machine_name(index: int) -> str:
    """The id of a machine, of the length of a UUID in hex: some peers accept nothing else."""
    return f"{index:032x}"


class Session(Protocol):
    """An opened store, used by blocking callers."""

    def append(self, machine: str, before: int, state: State) -> None:
        """Make one event durable. ``before`` is the number of events that the machine has had so far."""
        ...

    def rebuild(self, machine: str) -> int:
        """Build a machine's state from what is stored and return its field ``n``."""
        ...

    def recover(self) -> tuple[int, int]:
        """The current state of every machine: how many, and the sum of their fields ``n``."""
        ...

    def facts(self) -> dict[str, str]:
        """Settings read from the live connection: journal mode, synchronous, SQLite version."""
        ...

    def close(self) -> None: ...


class Growing(Session, Protocol):
    """A session whose stores are measured at several sizes."""

    def current(self, machine: str) -> int:
        """Load a machine's current state, as an application does, and return its field ``n``."""
        ...


class Counter(Protocol):
    """One number in one document, which many threads count up."""

    def increment(self) -> bool:
        """Count up once; False where it was given up."""
        ...

    def value(self) -> int: ...

    def facts(self) -> dict[str, str]: ...

    def close(self) -> None: ...


@runtime_checkable
class Enclosing(Protocol):
    """A session whose appends are only possible inside something of its own, such as a workflow."""

    def within(self, machine: str, run: Callable[[], None]) -> None:
        """Call ``run`` once, inside; it appends to this machine."""
        ...


class AsyncSession(Protocol):
    """An opened store, used by asyncio tasks; the methods as in `Session`."""

    async def append(self, machine: str, before: int, state: State) -> None: ...

    async def rebuild(self, machine: str) -> int: ...

    async def recover(self) -> tuple[int, int]: ...

    async def facts(self) -> dict[str, str]: ...

    async def close(self) -> None: ...


SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


def durability(*, journal_mode: str, synchronous: int, sqlite: str) -> dict[str, str]:
    """The facts of a connection as every arm reports them."""
    return {"journal": journal_mode, "synchronous": SYNCHRONOUS[synchronous], "sqlite": sqlite}
