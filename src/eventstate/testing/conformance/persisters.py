"""What the cases about persisters share: machines, and one way to call the sync and the asyncio face."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Literal, cast

from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Document, Key, Put, Require
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.machine import Machine
from eventstate.machines.past import Transition
from eventstate.machines.persister import StateMachinePersister
from eventstate.stores.base import Store
from eventstate.testing.conformance.suite import Suite, committed, read, remove

GOVERNOR: Final = "shop"


@dataclass(frozen=True, slots=True)
class Tally:
    """A state that shows every event and their order."""

    total: int = 0
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Added:
    mark: str
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Doubled:
    mark: str


def evolve(tally: Tally, event: Added | Doubled) -> Tally:
    marks = (*tally.marks, event.mark)
    match event:
        case Added(amount=amount):
            return Tally(tally.total + amount, marks)
        case Doubled():
            return Tally(tally.total * 2, marks)


def tally_of(events: Sequence[Added | Doubled]) -> Tally:
    """What these events must lead to."""
    return reduce(evolve, events, Tally())


@dataclass(frozen=True, slots=True)
class Door:
    is_open: Literal["open", "closed"] = "closed"


@dataclass(frozen=True, slots=True)
class Turned:
    to: Literal["open", "closed"]


def turn(_door: Door, event: Turned) -> Door:
    return Door(event.to)


TALLIES: Final[Machine[Tally, Any]] = Machine("tally", Tally(), evolve)
DOORS: Final[Machine[Door, Any]] = Machine(
    "door", Door(), turn, state_of="is_open", transitions=[("closed", "Turned", "open"), ("open", "Turned", "closed")]
)


class Face:
    """A persister, or a manager, of either world; its methods are awaited, its iterators come as lists."""

    def __init__(self, persister: object) -> None:
        self.inner: Any = persister

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self.inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
            if isinstance(result, AsyncIterator):
                return [item async for item in cast("AsyncIterator[Any]", result)]
            return list(cast("Iterator[Any]", result)) if isinstance(result, Iterator) else result

        return call


class PersisterSuite(Suite):
    """A suite whose cases work through persisters."""

    def persister(self, store: Store | None = None, *, governor: str = GOVERNOR, **options: Any) -> Face:
        """A persister with its own memory of tips, on a store of this test."""
        store = store if store is not None else self.open()
        options.setdefault("machines", [TALLIES, DOORS])
        face = StateMachinePersister if self.world.name == "sync" else AsyncStateMachinePersister
        return Face(face(store, governor=governor, **options))

    async def consistent(self, persister: Face) -> None:
        """Fail unless verification finds nothing."""
        report = await persister.validate_consistency()
        assert report.is_consistent, report.findings

    async def marks(self, persister: Face, id: str = "1") -> list[str]:
        """The marks of a tally's events as its history tells them, checked against its state and for gaps."""
        history: list[Transition] = await persister.history(TALLIES, id)
        assert [step.version for step in history] == list(range(1, len(history) + 1)), "gaps or repeats"
        found = [step.data.mark for step in history]
        loaded = await persister.load(TALLIES, id)
        assert list(loaded.data.marks) == found, "the state is not what the events say"
        assert loaded.version == len(found)
        return found


# Looking at and damaging what is stored


def head_key(id: str, governor: str = GOVERNOR) -> Key:
    return Key(HEAD, governor, id)


def entry_key(id: str, version: int, governor: str = GOVERNOR) -> Key:
    return Key(ENTRY, governor, id, version)


def snapshot_key(id: str, version: int, governor: str = GOVERNOR) -> Key:
    return Key(SNAPSHOT, governor, id, version)


async def stored(store: Store, key: Key) -> Document:
    """A document that must be there."""
    found = await read(store, key)
    assert found is not None, f"{key} is absent"
    return found


async def replace(store: Store, key: Key, body: bytes) -> None:
    """Put other bytes in the place of a document, as a fault of a disk or a person would."""
    if key.kind == ENTRY:
        await remove(store, key)
        await committed(store, Put(key, body, Require.ABSENT))
    else:
        await committed(store, Put(key, body, Require.EXISTS))


async def alter(store: Store, key: Key, old: bytes, new: bytes) -> None:
    """Replace a part of a document's bytes."""
    body = (await stored(store, key)).body
    assert old in body, f"{old!r} is not in {body!r}"
    await replace(store, key, body.replace(old, new, 1))


async def everything(store: Store, governor: str = GOVERNOR) -> dict[Key, Document]:
    """All heads, entries and snapshots of a governor: to tell whether a call wrote anything."""
    found: dict[Key, Document] = {}
    for kind in (HEAD, ENTRY, SNAPSHOT):
        page = await store.scan(kind, governor)
        assert page.next is None
        found.update({document.key: document for document in page.documents})
    return found
