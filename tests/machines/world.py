"""A machine to test with, and one face for both persisters, so that every test runs on each."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from eventstate import AsyncStateMachinePersister, Machine, StateMachinePersister, open_async_store, open_store
from eventstate.core.documents import Batch, Delete, Document, Key, Put, Require
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store


@dataclass(frozen=True)
class Order:
    status: str = "new"
    total: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    line: str


@dataclass(frozen=True)
class Paid:
    amount: int


@dataclass(frozen=True)
class Shipped:
    pass


def evolve(order: Order, event: Placed | Paid | Shipped) -> Order:
    match event:
        case Placed(line):
            return replace(order, status="placed", lines=(*order.lines, line))
        case Paid(amount):
            return replace(order, status="paid", total=order.total + amount)
        case Shipped():
            return replace(order, status="shipped")


TRANSITIONS = [
    ("new", "Placed", "placed"),
    ("placed", "Placed", "placed"),
    ("placed", "Paid", "paid"),
    ("paid", "Paid", "paid"),
    ("paid", "Shipped", "shipped"),
]


def make_orders(**options: Any) -> Machine[Order, Placed | Paid | Shipped]:
    """A new order machine that declares its transitions."""
    return Machine("order", Order(), evolve, **({"state_of": "status", "transitions": TRANSITIONS} | options))


def free_orders(**options: Any) -> Machine[Order, Placed | Paid | Shipped]:
    """A new order machine that allows everything."""
    return Machine("order", Order(), evolve, **options)


@dataclass(frozen=True)
class Added:
    n: int


def add(total: int, event: Added) -> int:
    return total + event.n


def make_counter(**options: Any) -> Machine[int, Added]:
    return Machine("counter", 0, add, **options)


class Face(Protocol):
    """What opens a persister for a test."""

    def __call__(self, **options: Any) -> StateMachinePersister: ...


class AsyncAsSync:
    """An async persister that is called like the sync one: every coroutine runs to its end, iterators become lists."""

    def __init__(self, persister: AsyncStateMachinePersister, runner: asyncio.Runner) -> None:
        self._persister = persister
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._persister, name)
        if not callable(attribute):
            return attribute

        def call(*args: Any, **options: Any) -> Any:
            result = attribute(*args, **options)
            if inspect.iscoroutine(result):
                return self._runner.run(result)
            return self._runner.run(_listed(result)) if inspect.isasyncgen(result) else result

        return call


async def _listed(items: Any) -> list[Any]:
    return [item async for item in items]


class World:
    """One store of one kind; opens persisters of one face on it."""

    def __init__(self, face: Literal["sync", "async"], url: str, runner: asyncio.Runner) -> None:
        self.url = url
        self._runner = runner
        if face == "sync":
            self.store: Store = open_store(url)
        else:
            self.store = runner.run(_open(url))

    def __call__(self, **options: Any) -> Any:
        if isinstance(self.store.runtime, BlockingRuntime):
            return StateMachinePersister(self.store, **options)
        return AsyncAsSync(AsyncStateMachinePersister(self.store, **options), self._runner)

    def close(self) -> None:
        self._runner.run(self.store.aclose())

    # Behind the persister's back, through the store port

    def read(self, key: Key) -> Document | None:
        return self._runner.run(self.store.get([key])).documents.get(key)

    def scan(self, kind: str, governor: str = "default", **options: Any) -> list[Document]:
        return list(self._runner.run(self.store.scan(kind, governor, **options)).documents)

    def write(self, key: Key, body: bytes) -> None:
        self.remove(key)  # no store takes an entry in the place of another
        self._runner.run(self.store.commit(Batch(self.store.runtime.unique(), (Put(key, body, Require.ANY),))))

    def remove(self, key: Key) -> None:
        self._runner.run(self.store.commit(Batch(self.store.runtime.unique(), (Delete(key, Require.ANY),))))

    def change(self, key: Key, alter: Callable[[bytes], bytes]) -> None:
        """Tamper with a stored document."""
        document = self.read(key)
        assert document is not None
        body = alter(document.body)
        assert body != document.body
        self.write(key, body)

    def everything(self) -> list[tuple[Key, bytes, str]]:
        """All that the store holds for its governors, to see that nothing was written."""
        kinds = ("head", "entry", "snapshot", "command", "outcome")
        governors = self._runner.run(self.store.owners())
        return [(d.key, d.body, d.revision) for g in governors for kind in kinds for d in self.scan(kind, g)]


async def _open(url: str) -> Store:
    return open_async_store(url)


def datas(items: Iterable[Any]) -> list[Any]:
    return [item.data for item in items]


def flipped(body: bytes, place: int = -5) -> bytes:
    """The body with one bit of one byte changed."""
    changed = bytearray(body)
    changed[place] ^= 1
    return bytes(changed)
