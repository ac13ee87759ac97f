"""Projections beside retention, privacy and switches that died; stores of the wrong kind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    AsyncProjectionManager,
    AsyncTimeTravel,
    ConfigurationError,
    CorruptionError,
    Keyring,
    Machine,
    Projection,
    ProjectionManager,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    Store,
    TimeTravel,
    open_async_store,
    open_store,
)
from eventstate.core.documents import CURSOR, Batch, Delete, Key, Require
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.log.projections import Registers
from eventstate.machines import projecting
from eventstate.machines.core import PersisterCore
from eventstate.machines.deliveries import Delivery
from eventstate.machines.projecting import Projecting, ViewBuffer
from eventstate.runtime.blocking import drive
from tests.machines.world import Placed, make_orders

ORDERS = make_orders()


def count(_event: Delivery, view: Any) -> None:
    view.put("all", (view.get("all") or 0) + 1)


def filled(store: Store, events: int = 12) -> StateMachinePersister:
    persister = StateMachinePersister(store, machines=[ORDERS], snapshot_every=4)
    for version in range(events):
        persister.append(ORDERS, "1", Placed(f"{version}"), expected=version)
    return persister


def prune(store: Store) -> None:
    RetentionManager(store, machines=[ORDERS]).prune(RetentionPolicy(keep_last=2))


def first_version(store: Store) -> int:
    return next(StateMachinePersister(store, machines=[ORDERS]).history(ORDERS, "1")).version


def test_what_is_not_handled_yet_is_not_pruned() -> None:
    with open_store("memory://") as store:
        persister = filled(store)
        manager, counts = ProjectionManager(store), Projection("counts", count)

        def fail(event: Delivery, view: Any) -> None:
            count(event, view)
            if event.version == 6:
                raise LookupError(event.version)

        with pytest.raises(LookupError):
            manager.catch_up(Projection("counts", fail))
        prune(store)
        assert first_version(store) == 1, "until it has caught up, all of it is pinned"
        assert manager.catch_up(counts) == 12
        persister.append(ORDERS, "1", Placed("more"), expected=12)
        prune(store)
        assert first_version(store) > 1
        assert manager.catch_up(counts) == 13
        assert manager.get("counts", "all") == 13


def test_a_beginning_that_is_pruned_is_refused() -> None:
    with open_store("memory://") as store:
        persister = filled(store)
        manager = ProjectionManager(store)
        assert manager.catch_up(Projection("early", count)) == 12
        prune(store)
        left = len(list(persister.history(ORDERS, "1")))
        assert left < 12
        for late in (Projection("late", count), Projection("late", count, machines=["order"])):
            with pytest.raises(ConfigurationError, match="accept_pruned=True"):
                manager.catch_up(late)
        with pytest.raises(ConfigurationError, match="'order-1', which are pruned"):
            manager.rebuild(Projection("early", count, version=2))
        assert manager.get("early", "all") == 12, "the old one is still there"
        assert manager.catch_up(Projection("late", count, machines=["other"])) == 0
        assert manager.catch_up(Projection("anyway", count, accept_pruned=True)) == left


def test_many_documents_of_one_event() -> None:
    counts = [190, 400, 10, 199, 2, 450, 1]

    def spread(event: Delivery, view: Any) -> None:
        for number in range(counts[event.version - 1]):
            view.put(f"{event.version}.{number}", number)

    with open_store("memory://") as store:
        persister = StateMachinePersister(store)
        for version, n in enumerate(counts):
            persister.save_state("doc", n, expected=version)
        manager = ProjectionManager(store)
        assert manager.catch_up(Projection("spread", spread)) == len(counts)
        assert len(list(manager.list("spread"))) == sum(counts)


def test_a_place_that_is_gone_is_no_new_beginning() -> None:
    with open_store("memory://") as store:
        filled(store)
        manager, counts = ProjectionManager(store), Projection("counts", count)
        manager.catch_up(counts)
        key = Key(CURSOR, "default", "subscription:projection.counts.1")
        drive(store.commit(Batch("t", [Delete(key, Require.EXISTS)])))
        with pytest.raises(CorruptionError, match="rebuild the projection"):
            manager.catch_up(counts)
        assert manager.rebuild(counts) == 12
        assert manager.get("counts", "all") == 12


def test_a_switch_that_died_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "HOLD_SECONDS", 0.2)
    with open_store("memory://") as store:
        filled(store)
        manager, counts = ProjectionManager(store), Projection("counts", count)
        manager.catch_up(counts)

        async def call(_event: Delivery, view: ViewBuffer) -> None:
            await view.put("all", (await view.get("all") or 0) + 1)

        core = PersisterCore(store, "default", [ORDERS], SnapshotPolicy())
        dead = Projecting(core, counts, call)
        registers = Registers(store, "default")
        begun = drive(dead._begun())
        assert drive(registers.write(replace(begun, is_held=True)))
        StateMachinePersister(store, machines=[ORDERS]).append(ORDERS, "1", Placed("more"), expected=12)
        assert manager.catch_up(counts) == 13
        assert not drive(registers.get("counts")).is_held
        assert manager.rebuild(counts) == 13
        assert manager.status("counts").generation == 2


def test_what_is_encrypted_is_not_projected(tmp_path: Path) -> None:
    secret = Machine("patient", {"name": ""}, subjects={"Admitted": "name"}, events={"Admitted": dict})
    with open_store("memory://") as store, open_store(f"sqlite:///{tmp_path / 'keys.db'}") as keys:
        manager = ProjectionManager(store, machines=[ORDERS, secret], keyring=Keyring(keys))
        filled(store)
        for all_of_them in (Projection("counts", count), Projection("counts", count, machines=[secret])):
            with pytest.raises(ConfigurationError, match="would outlast an erasure"):
                manager.catch_up(all_of_them)
        assert manager.catch_up(Projection("counts", count, machines=[ORDERS])) == 12


def test_stores_of_the_other_kind_are_refused() -> None:
    with open_store("memory://") as store:
        for face in (AsyncProjectionManager, AsyncTimeTravel):
            with pytest.raises(ConfigurationError, match="a store of open_store"):
                face(store)

    async def mixed_up() -> None:
        async with open_async_store("memory://") as store:
            for face in (ProjectionManager, TimeTravel):
                with pytest.raises(ConfigurationError, match="a store of open_async_store"):
                    face(store)

    asyncio.run(mixed_up())
