"""eventstate itself, through its public face only: ``events`` of a declared machine, or plain ``states``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arms.apsw_facts import Connections
from benchmarks.arms.session import Shape, machine_name
from benchmarks.payloads import CHANGED_BY, REASON, State, state
from eventstate import (
    AppendTo,
    AsyncStateMachinePersister,
    Machine,
    StateMachinePersister,
    Store,
    open_async_store,
    open_store,
)

CONNECTIONS = Connections()
GOVERNOR = "bench"
PLAIN = "plain"
SNAPSHOT_EVERY = 100
TOGETHER = 100
"""Machines in one commit of a seed."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The whole state."""

    data: dict[str, Any]


def evolve(state: dict[str, Any], event: Changed) -> dict[str, Any]:
    return event.data


orders = Machine("order", initial={"n": 0}, evolve=evolve)


def snapshots(shape: Shape | None) -> int:
    """The library's own default where nothing was seeded."""
    return SNAPSHOT_EVERY if shape is None else shape.snapshot_every


class EventstateSession:
    """Expected versions are numbers, as a caller has them who knows what it saw last."""

    def __init__(self, path: Path, *, plain: bool, shape: Shape | None, options: str = "") -> None:
        self.store = open_store(f"sqlite:///{path.absolute()}{options}")
        self.persister = StateMachinePersister(
            self.store, governor=GOVERNOR, machines=[orders], snapshot_every=snapshots(shape)
        )
        self._shape = shape
        self._plain = plain

    def append(self, machine: str, before: int, state: State) -> None:
        if self._plain:
            self.persister.save_state(
                f"{PLAIN}-{machine}", state, expected=before, changed_by=CHANGED_BY, reason=REASON
            )
        else:
            self.persister.append(
                orders, machine, Changed(state), expected=before, changed_by=CHANGED_BY, reason=REASON
            )

    def append_together(self, machines: Sequence[str], before: int, state: State) -> None:
        """The same event for each of these machines, in one commit."""
        appends = [AppendTo(orders, machine, Changed(state), expected=before) for machine in machines]
        self.persister.append_together(*appends, changed_by=CHANGED_BY, reason=REASON)

    def rebuild(self, machine: str) -> int:
        name = f"{PLAIN if self._plain else orders.name}-{machine}"
        if self._shape is None:  # a check after writing: everything is read again
            return self.persister.rebuild(name, full=True).data["n"]
        return self.persister.load(name, at_version=self._shape.events).data["n"]

    def current(self, machine: str) -> int:
        return self.persister.load(f"{PLAIN if self._plain else orders.name}-{machine}").data["n"]

    def recover(self) -> tuple[int, int]:
        recovered = list(self.persister.recover())
        return len(recovered), sum(one.data["n"] for one in recovered)

    def facts(self) -> dict[str, str]:
        return CONNECTIONS.facts()

    def close(self) -> None:
        self.store.close()


class AsyncEventstateSession:
    """The same for asyncio callers."""

    def __init__(self, store: Store, *, plain: bool, shape: Shape | None) -> None:
        self.store = store
        self.persister = AsyncStateMachinePersister(
            store, governor=GOVERNOR, machines=[orders], snapshot_every=snapshots(shape)
        )
        self._shape = shape
        self._plain = plain

    async def append(self, machine: str, before: int, state: State) -> None:
        if self._plain:
            await self.persister.save_state(
                f"{PLAIN}-{machine}", state, expected=before, changed_by=CHANGED_BY, reason=REASON
            )
        else:
            await self.persister.append(
                orders, machine, Changed(state), expected=before, changed_by=CHANGED_BY, reason=REASON
            )

    async def rebuild(self, machine: str) -> int:
        name = f"{PLAIN if self._plain else orders.name}-{machine}"
        if self._shape is None:
            return (await self.persister.rebuild(name, full=True)).data["n"]
        return (await self.persister.load(name, at_version=self._shape.events)).data["n"]

    async def recover(self) -> tuple[int, int]:
        recovered = [one async for one in self.persister.recover()]
        return len(recovered), sum(one.data["n"] for one in recovered)

    async def facts(self) -> dict[str, str]:
        return CONNECTIONS.facts()

    async def close(self) -> None:
        await self.store.aclose()


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> EventstateSession:
    return EventstateSession(path, plain=variant == "states", shape=shape)


async def open_async(path: Path, *, variant: str, shape: Shape | None) -> AsyncEventstateSession:
    store = open_async_store(f"sqlite:///{path.absolute()}")
    return AsyncEventstateSession(store, plain=variant == "states", shape=shape)


def seed(path: Path, shape: Shape, *, variant: str) -> None:
    """One entry per event, machine after machine for each event, as live traffic would leave it."""
    session = EventstateSession(path, plain=variant == "states", shape=shape, options="?durability=off")
    names = [machine_name(index) for index in range(shape.machines)]
    for n in range(1, shape.events + 1):
        value = state(shape.size, n)
        if variant == "states":
            for name in names:
                session.append(name, n - 1, value)
        else:
            for first in range(0, len(names), TOGETHER):
                session.append_together(names[first : first + TOGETHER], n - 1, value)
    session.close()
