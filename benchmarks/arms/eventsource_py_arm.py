"""The library eventsource-py: a repository of one aggregate class on its SQLite event store. asyncio only."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsource import AggregateRepository, AggregateRoot, DomainEvent, register_event
from eventsource.adapters.sqlite.snapshots import SQLiteSnapshotStore
from eventsource.adapters.sqlite.store import SQLiteEventStore
from pydantic import BaseModel

from benchmarks.arms.session import Shape, durability, machine_name
from benchmarks.payloads import CHANGED_BY, REASON, State, state

METADATA = {"reason": REASON}


@register_event
class Changed(DomainEvent):
    """The whole state; the library's own fields carry the metadata."""

    aggregate_type: str = "Order"
    data: dict[str, Any]


class OrderState(BaseModel):
    """The last state."""

    data: dict[str, Any]


class Order(AggregateRoot[OrderState]):
    """Holds the last state."""

    aggregate_type = "Order"

    def _get_initial_state(self) -> OrderState:
        return OrderState(data={"n": 0})

    def _apply(self, event: DomainEvent) -> None:
        assert isinstance(event, Changed)
        self._state = OrderState(data=event.data)

    def change(self, value: State) -> None:
        self.create_event(Changed, data=value, actor_id=CHANGED_BY, metadata=METADATA)

    @property
    def n(self) -> int:
        assert self.state is not None
        return self.state.data["n"]


class EventsourcePySession:
    """Aggregates are kept in memory while writing, the library's best case."""

    def __init__(self, path: Path, *, snapshots: bool) -> None:
        self.store = SQLiteEventStore(str(path), busy_timeout=30_000)
        self.snapshots = SQLiteSnapshotStore(str(path)) if snapshots else None
        self.repository = AggregateRepository(
            event_store=self.store,
            aggregate_factory=Order,
            snapshot_store=self.snapshots,
            snapshot_threshold=100 if snapshots else None,
            enable_tracing=False,
        )
        self._orders: dict[str, Order] = {}

    async def append(self, machine: str, before: int, state: State) -> None:
        order = self._orders.get(machine)
        if order is None:
            order = self._orders[machine] = self.repository.create_new(UUID(machine))
        order.change(state)
        await self.repository.save(order)

    async def rebuild(self, machine: str) -> int:
        return (await self.repository.load(UUID(machine))).n

    async def recover(self) -> tuple[int, int]:
        connection = await self.store._conn()  # the library lists no ids itself
        rows = await (await connection.execute("SELECT DISTINCT aggregate_id FROM events")).fetchall()
        orders = [await self.repository.load(UUID(row[0])) for row in rows]
        return len(orders), sum(order.n for order in orders)

    async def facts(self) -> dict[str, str]:
        connection = await self.store._conn()
        journal_mode = (await (await connection.execute("PRAGMA journal_mode")).fetchone())[0]
        synchronous = (await (await connection.execute("PRAGMA synchronous")).fetchone())[0]
        return durability(journal_mode=journal_mode, synchronous=synchronous, sqlite=sqlite3.sqlite_version)

    async def close(self) -> None:
        await self.store.close()
        if self.snapshots is not None and hasattr(self.snapshots, "close"):  # older versions hold no connection
            await self.snapshots.close()


async def open_async(path: Path, *, variant: str, shape: Shape | None) -> EventsourcePySession:
    session = EventsourcePySession(path, snapshots=shape is not None and shape.snapshot_every > 0)
    await session.store._conn()  # the library opens the file on first use; opening is not part of a read
    return session


def seed(path: Path, shape: Shape, *, variant: str) -> None:
    """One save per machine (the rows are the same as with one save per event) or per snapshot interval."""
    asyncio.run(_seed(path, shape))


async def _seed(path: Path, shape: Shape) -> None:
    session = EventsourcePySession(path, snapshots=shape.snapshot_every > 0)
    await (await session.store._conn()).execute("PRAGMA synchronous = OFF")
    for index in range(shape.machines):
        order = session.repository.create_new(UUID(machine_name(index)))
        for n in range(1, shape.events + 1):
            order.change(state(shape.size, n))
            if shape.snapshot_every and n % shape.snapshot_every == 0:
                await session.repository.save(order)
        if order.has_uncommitted_events:
            await session.repository.save(order)
    await session.close()
