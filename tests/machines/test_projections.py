"""Projections beside retention, privacy and switches that died; stores of the wrong kind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from eventstate import (
    ANY,
    AsyncProjectionManager,
    AsyncTimeTravel,
    ConfigurationError,
    CorruptionError,
    DirectoryArchive,
    DocumentTooLargeError,
    Event,
    InvalidInputError,
    Keyring,
    Machine,
    Projection,
    ProjectionManager,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    Store,
    StoreUnavailableError,
    TimeTravel,
    TransactionConflictError,
    open_async_store,
    open_store,
)
from eventstate.core.documents import CURSOR, HEAD, Batch, Delete, Key, Page, Require
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.log.projections import Registers
from eventstate.machines import projecting
from eventstate.machines.core import PersisterCore
from eventstate.machines.deliveries import Delivery
from eventstate.machines.projecting import Projecting
from eventstate.machines.view_buffer import ViewBuffer
from eventstate.runtime.blocking import drive
from eventstate.testing.faults import FaultyStore
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


def plain(store: Store, events: int) -> StateMachinePersister:
    persister = StateMachinePersister(store)
    for version in range(events):
        persister.append("a-1", Event("x", state=version), expected=version)
    return persister


def test_large_documents_of_several_events() -> None:
    """Each event writes what one commit can hold; several together would not fit."""
    sizes = [1_400_000, 2_900_000, 700_000, 2_100_000, 10]

    def spread(event: Delivery, view: Any) -> None:
        for first in range(0, sizes[event.version - 1], 700_000):
            view.put(f"{event.version}.{first}", "x" * min(700_000, sizes[event.version - 1] - first))

    with open_store("memory://") as store:
        plain(store, len(sizes))
        manager = ProjectionManager(store)
        assert manager.catch_up(Projection("large", spread)) == len(sizes)
        assert sum(len(text) for _, text in manager.list("large")) == sum(sizes)


@pytest.mark.parametrize(
    ("count", "size", "error"),
    [(1, 1_000_000, DocumentTooLargeError), (5, 700_000, DocumentTooLargeError), (451, 1, InvalidInputError)],
)
def test_too_much_for_one_commit_stops_at_its_event(count: int, size: int, error: type[Exception]) -> None:
    def spread(event: Delivery, view: Any) -> None:
        for number in range(count if event.version == 3 else 1):
            view.put(f"{event.version}.{number}", "x" * (size if event.version == 3 else 1))

    with open_store("memory://") as store:
        plain(store, 4)
        manager = ProjectionManager(store)
        with pytest.raises(error) as raised:
            manager.catch_up(Projection("large", spread))
        assert "default/a-1:3" in raised.value.__notes__[0]
        assert manager.status("large").events == 2, "everything before it is committed"
        assert [id for id, _ in manager.list("large")] == ["1.0", "2.0"]


def of_version(event: Delivery, view: Any) -> None:
    if view.get(str(event.version)) is not None:
        raise LookupError(f"version {event.version} was handled before")
    view.put(str(event.version), 1)


def projecting_of(store: Store, projection: Projection) -> Projecting:
    async def call(event: Delivery, view: ViewBuffer) -> None:
        if await view.get(str(event.version)) is not None:
            raise LookupError(f"version {event.version} was handled before")
        await view.put(str(event.version), 1)

    return Projecting(PersisterCore(store, "default", [], SnapshotPolicy()), projection, call)


def test_a_standby_that_is_behind_does_not_die_of_what_the_other_did() -> None:
    with open_store("memory://") as store:
        persister = plain(store, 1)
        manager, projection = ProjectionManager(store), Projection("p", of_version)
        manager.catch_up(projection)
        standby = drive(projecting_of(store, projection).opened())
        persister.append("a-1", Event("x", state=1), expected=1)
        assert manager.catch_up(projection) == 2
        with pytest.raises(TransactionConflictError):  # which has it begin anew from what is saved
            drive(standby.step())
        standby.close()


def test_an_error_of_its_own_passes() -> None:
    with open_store("memory://") as store:
        plain(store, 2)
        manager = ProjectionManager(store)

        def fail(event: Delivery, view: Any) -> None:
            of_version(event, view)
            if event.version == 2:
                raise LookupError("as always")

        with pytest.raises(LookupError, match="as always"):
            manager.catch_up(Projection("p", fail))
        assert manager.catch_up(Projection("p", of_version)) == 2


def test_a_second_look_that_was_missed_is_made_up_for(tmp_path: Path) -> None:
    """A prune may be faster than the pin; whoever dies before looking again leaves that to the next one."""

    class Dying(FaultyStore):
        looks = 0

        async def scan(self, kind: str, owner: str, **options: Any) -> Page:
            self.looks += kind == HEAD
            if kind == HEAD and self.looks == 2:
                raise StoreUnavailableError(store=self.url, detail="for a moment")
            return await super().scan(kind, owner, **options)

    with open_store("memory://") as store:
        plain(store, 10)
        dying = Dying(store)

        async def prune(batch: Batch) -> None:
            if dying.looks == 1 and any("projection.p.1" in operation.key.id for operation in batch.operations):
                RetentionManager(store, archive=DirectoryArchive(tmp_path)).prune(RetentionPolicy(keep_last=1))

        dying.before_commit = prune
        with pytest.raises(StoreUnavailableError):
            ProjectionManager(cast("Store", dying)).catch_up(Projection("p", of_version))
        assert first_of(store) == 10
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="'a-1', which are pruned"):
                ProjectionManager(store).catch_up(Projection("p", of_version))


def first_of(store: Store) -> int:
    return next(StateMachinePersister(store).history("a-1")).version


def test_what_a_killed_switch_left_is_cleaned_up_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def killed(_: Projecting) -> None:
        raise KeyboardInterrupt

    with open_store("memory://") as store:
        persister = plain(store, 5)
        manager, rebuilt = ProjectionManager(store), Projection("p", of_version, version=2)
        manager.catch_up(Projection("p", of_version))
        with monkeypatch.context() as patched:
            patched.setattr(Projecting, "clean_up", killed)
            with pytest.raises(KeyboardInterrupt):
                manager.rebuild(rebuilt)
        assert manager.status("p").generation == 2
        for version in range(5, 10):
            persister.append("a-1", Event("x", state=version), expected=version)
        assert manager.catch_up(rebuilt) == 10
        RetentionManager(store, archive=DirectoryArchive(tmp_path)).prune(RetentionPolicy(keep_last=1))
        assert first_of(store) == 10, "the old generation holds nothing back"


@pytest.mark.parametrize("ends", ["catch_up", "rebuild"])
def test_it_ends_though_others_write_as_fast(ends: str) -> None:
    with open_store("memory://") as store:
        persister = plain(store, 3)
        manager, calls = ProjectionManager(store), 0

        def write(event: Delivery, view: Any) -> None:
            nonlocal calls
            calls += 1
            assert calls < 200
            count(event, view)
            persister.append("a-1", *[Event("x", state=0)] * 2, expected=ANY)

        projection = Projection("p", write)
        handled = manager.catch_up(projection) if ends == "catch_up" else manager.rebuild(projection)
        assert 3 <= handled < 200
        assert manager.get("p", "all") == handled
        RetentionManager(store, machines=[ORDERS]).prune(RetentionPolicy(keep_last=1))
        assert first_of(store) > 1, "it has caught up, so its place says what it needs"


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
