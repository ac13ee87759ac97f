"""eventstate on Firestore, through its public face only: events of a declared machine."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.arms.eventstate_arm import GOVERNOR, SNAPSHOT_EVERY, Changed, orders
from benchmarks.arms.firestore_place import place
from benchmarks.arms.session import Shape
from benchmarks.payloads import CHANGED_BY, REASON, State
from eventstate import AsyncStateMachinePersister, StateMachinePersister, Store, open_async_store, open_store


def url(path: Path) -> str:
    """The store's URL; the emulator's address goes the way it always does."""
    os.environ["FIRESTORE_EMULATOR_HOST"], project = place(path)
    return f"firestore://{project}"


class EventstateSession:
    """Expected versions are numbers, as a caller has them who knows what it saw last."""

    def __init__(self, path: Path) -> None:
        self._store = open_store(url(path))
        self._persister = StateMachinePersister(
            self._store, governor=GOVERNOR, machines=[orders], snapshot_every=SNAPSHOT_EVERY
        )

    def append(self, machine: str, before: int, state: State) -> None:
        self._persister.append(orders, machine, Changed(state), expected=before, changed_by=CHANGED_BY, reason=REASON)

    def rebuild(self, machine: str) -> int:
        return self._persister.load(f"{orders.name}-{machine}").data["n"]

    def recover(self) -> tuple[int, int]:
        recovered = list(self._persister.recover())
        return len(recovered), sum(one.data["n"] for one in recovered)

    def facts(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        self._store.close()


class AsyncEventstateSession:
    """The same for asyncio callers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._persister = AsyncStateMachinePersister(
            store, governor=GOVERNOR, machines=[orders], snapshot_every=SNAPSHOT_EVERY
        )

    async def append(self, machine: str, before: int, state: State) -> None:
        await self._persister.append(
            orders, machine, Changed(state), expected=before, changed_by=CHANGED_BY, reason=REASON
        )

    async def rebuild(self, machine: str) -> int:
        return (await self._persister.load(f"{orders.name}-{machine}")).data["n"]

    async def recover(self) -> tuple[int, int]:
        recovered = [one async for one in self._persister.recover()]
        return len(recovered), sum(one.data["n"] for one in recovered)

    async def facts(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        await self._store.aclose()


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> EventstateSession:
    return EventstateSession(path)


async def open_async(path: Path, *, variant: str, shape: Shape | None) -> AsyncEventstateSession:
    return AsyncEventstateSession(open_async_store(url(path)))
