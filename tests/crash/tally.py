"""The machine that crash tests write, and a runtime that does not wait."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from eventstate import Machine, StateMachinePersister, StateSnapshot
from eventstate.runtime.base import Runtime
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store
from eventstate.stores.sqlite.connection import Settings
from eventstate.stores.sqlite.store import SqliteStore

FILE = "store.db"
GOVERNOR = "crash"


@dataclass(frozen=True)
class Noted:
    """Something was noted."""

    number: int
    text: str


@dataclass(frozen=True)
class Tally:
    """How often, and what last."""

    count: int = 0
    last: str = ""


def evolve(tally: Tally, event: Noted) -> Tally:
    return Tally(tally.count + 1, event.text)


tallies = Machine("tally", Tally(), evolve)


@lru_cache(maxsize=1000)
def text_of(number: int, size: int) -> str:
    """What event ``number`` says, in ``size`` characters."""
    return "".join(chr(97 + (number + place) % 26) for place in range(size))


def noted(number: int, size: int) -> Noted:
    return Noted(number, text_of(number, size))


class HastyRuntime(BlockingRuntime):
    """Sleeps take no time, but the clock shows them: what is settled with patience is settled at once."""

    def __init__(self) -> None:
        self._slept = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._slept

    async def sleep(self, seconds: float) -> None:
        self._slept += seconds


def open_tallies(folder: Path, durability: str = "full", runtime: Runtime | None = None) -> SqliteStore:
    """A store with a short write-ahead log, so that checkpoints come often."""
    level = cast(Literal["full", "normal", "off"], durability)
    settings = Settings(path=str(folder / FILE), durability=level, wal_pages=12, timeout=5)
    return SqliteStore(settings, runtime or HastyRuntime())


def persister_on(store: Store) -> StateMachinePersister:
    return StateMachinePersister(store, governor=GOVERNOR, machines=[tallies], snapshot_every=4, keep_snapshots=2)


def line_of(state: StateSnapshot[Tally], number: int) -> str:
    """The acknowledgement of the event that led to a state."""
    return f"{state.id} {state.version} {number} {len(state.data.last)}"
