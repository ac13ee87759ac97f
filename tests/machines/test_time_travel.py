"""Time travel beside retention: forks hold their parents, pruned beginnings come from the archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventstate import (
    At,
    CorruptionError,
    DirectoryArchive,
    Machine,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    TimeTravel,
    open_store,
)
from eventstate.core.documents import ENTRY, PIN, Batch, Key, Put, Require
from eventstate.runtime.blocking import drive
from tests.machines.world import Order, Placed, make_orders

ORDERS = make_orders()


def idle(order: Order, _event: Placed) -> Order:
    return order


POLICY = RetentionPolicy(keep_last=2)


def test_a_fork_holds_its_parent_until_it_is_released(tmp_path: Path) -> None:
    archive = DirectoryArchive(tmp_path / "archive")
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[ORDERS], snapshot_every=4)
        for version in range(12):
            persister.append(ORDERS, "1", Placed(f"{version}"), expected=version)
        travel = TimeTravel(store, machines=[ORDERS], archive=archive)
        fork = travel.fork(ORDERS, "1", to="2", at_version=5)
        retention = RetentionManager(store, machines=[ORDERS], archive=archive)
        retention.prune(POLICY)
        assert next(persister.history(ORDERS, "1")).version == 1, "the parent is pinned"

        assert travel.release_fork(ORDERS, "2")
        retention.prune(POLICY)
        first = next(persister.history(ORDERS, "1")).version
        assert first > 5
        persister.append(ORDERS, "2", Placed("own"), expected=fork)
        assert persister.load(ORDERS, "2").data.lines == ("0", "1", "2", "3", "4", "own")
        told = [(step.state_id, step.version) for step in travel.history(ORDERS, "2")]
        assert told == [*(("order-1", version) for version in range(1, 6)), ("order-2", 1), ("order-2", 2)]
        without = [step.state_id for step in TimeTravel(store, machines=[ORDERS]).history(ORDERS, "2")]
        assert without == ["order-2", "order-2"], "what is pruned is left out where there is no archive"
        (origin,) = travel.lineage(ORDERS, "2")
        assert (origin.state_id, origin.version) == ("order-1", 5)

        found = travel.diff(At(ORDERS, "1", version=2), At(ORDERS, "1"))
        assert [change.path for change in found.changes] == [f"$.lines[{n}]" for n in range(2, 12)]
        report = travel.replay_check()
        assert report.is_same
        assert report.compared > 0


@pytest.mark.parametrize("damaged", ["order-2", "order-3"])
@pytest.mark.parametrize("body", [b"\x00\xff", b'"text"', b"{}", b'{"h":"' + b"A" * 43 + b'","n":1,"e":[{}]}'])
def test_a_damaged_fork_is_named(damaged: str, body: bytes) -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[ORDERS])
        persister.append(ORDERS, "1", Placed("one"), expected=0)
        travel = TimeTravel(store, machines=[ORDERS])
        travel.fork(ORDERS, "1", to="2")
        travel.fork(ORDERS, "2", to="3")
        assert [origin.state_id for origin in travel.lineage(ORDERS, "3")] == ["order-2", "order-1"]
        drive(store.commit(Batch("t", [Put(Key(ENTRY, "default", damaged, 1), body, Require.EXISTS)])))
        for call in (travel.lineage, travel.history):
            with pytest.raises(CorruptionError, match=f"default/{damaged}:1"):
                list(call(ORDERS, "3"))


@pytest.mark.parametrize("body", [b"\x00\xff", b'"text"', b'{"at":1}'])
def test_a_damaged_pin_of_a_fork_is_named(body: bytes) -> None:
    with open_store("memory://") as store:
        StateMachinePersister(store, machines=[ORDERS]).append(ORDERS, "1", Placed("one"), expected=0)
        travel = TimeTravel(store, machines=[ORDERS])
        travel.fork(ORDERS, "1", to="2")
        assert [fork.state_id for fork in travel.forks()] == ["order-2"]
        drive(store.commit(Batch("t", [Put(Key(PIN, "default", "fork:order-2"), body, Require.EXISTS)])))
        with pytest.raises(CorruptionError, match="default/fork:order-2"):
            list(travel.forks())


def test_a_pruned_stream_is_replayed_from_where_it_begins() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[ORDERS], snapshot_every=4)
        for version in range(12):
            persister.append(ORDERS, "1", Placed(f"{version}"), expected=version)
        RetentionManager(store, machines=[ORDERS]).prune(POLICY)
        assert TimeTravel(store, machines=[ORDERS]).replay_check().is_same
        changed = Machine("order", Order(), idle, events=[Placed])
        report = TimeTravel(store, machines=[changed]).replay_check()
        assert [(d.version, d.recorded_in) for d in report.divergences] == [(12, "snapshot"), (12, "head")]
