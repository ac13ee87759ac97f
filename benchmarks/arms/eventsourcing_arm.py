"""The library eventsourcing: an application with one aggregate class on its SQLite recorder."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.arms.session import Shape, durability, machine_name
from benchmarks.payloads import CHANGED_BY, REASON, State, state


class Order(Aggregate):
    """Holds the last state; every change is one event with the whole state and its metadata."""

    def __init__(self, id: UUID) -> None:
        self._id = id
        self.data: State = {"n": 0}

    @staticmethod
    def create_id(id: UUID) -> UUID:
        return id

    @event("Changed")
    def change(self, data: State, changed_by: str, reason: str) -> None:
        self.data = data


class Orders(Application[UUID]):
    """The application without snapshots."""


class SnapshottingOrders(Application[UUID]):
    """The application with a snapshot every 100 events."""

    snapshotting_intervals = {Order: 100}


class EventsourcingSession:
    """Aggregates are kept in memory while writing, the library's best case."""

    def __init__(self, path: Path, *, snapshots: bool) -> None:
        settings = {
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(path),
            "SQLITE_LOCK_TIMEOUT": "30",
            "SQLITE_POOL_TIMEOUT": "30",
        }
        self.application = (SnapshottingOrders if snapshots else Orders)(settings)
        self._orders: dict[str, Order] = {}

    def append(self, machine: str, before: int, state: State) -> None:
        order = self._orders.get(machine)
        if order is None:
            order = self._orders[machine] = Order(id=UUID(machine))
        order.change(data=state, changed_by=CHANGED_BY, reason=REASON)
        self.application.save(order)

    def rebuild(self, machine: str) -> int:
        order: Order = self.application.repository.get(UUID(machine))
        return order.data["n"]

    def recover(self) -> tuple[int, int]:
        recorder = self.application.recorder
        with recorder.datastore.transaction(commit=False) as cursor:  # the library lists no ids itself
            cursor.execute("SELECT DISTINCT originator_id FROM stored_events")
            ids = [UUID(row[0]) for row in cursor.fetchall()]
        orders: list[Order] = [self.application.repository.get(id) for id in ids]
        return len(orders), sum(order.data["n"] for order in orders)

    def facts(self) -> dict[str, str]:
        with self.application.recorder.datastore.transaction(commit=False) as cursor:
            cursor.execute("PRAGMA journal_mode")
            journal_mode = cursor.fetchone()[0]
            cursor.execute("PRAGMA synchronous")
            synchronous = cursor.fetchone()[0]
        return durability(journal_mode=journal_mode, synchronous=synchronous, sqlite=sqlite3.sqlite_version)

    def close(self) -> None:
        self.application.close()


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> EventsourcingSession:
    return EventsourcingSession(path, snapshots=shape is not None and shape.snapshot_every > 0)


def seed(path: Path, shape: Shape, *, variant: str) -> None:
    """One save per machine (the rows are the same as with one save per event) or per snapshot interval."""
    session = EventsourcingSession(path, snapshots=shape.snapshot_every > 0)
    for index in range(shape.machines):
        order = Order(id=UUID(machine_name(index)))
        change = partial(order.change, changed_by=CHANGED_BY, reason=REASON)
        for n in range(1, shape.events + 1):
            change(data=state(shape.size, n))
            if shape.snapshot_every and n % shape.snapshot_every == 0:
                session.application.save(order)
        session.application.save(order)
    session.close()
