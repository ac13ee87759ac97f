"""Time travel beside retention: forks hold their parents, pruned beginnings come from the archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    At,
    CorruptionError,
    DirectoryArchive,
    Machine,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    StreamTransfer,
    TimeTravel,
    open_store,
)
from eventstate.core.documents import ENTRY, PIN, Batch, Delete, Key, Put, Require
from eventstate.core.format import snapshot_key
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


def test_a_fork_that_was_copied_without_its_parent_has_its_own_history() -> None:
    with open_store("memory://") as store, open_store("memory://") as other:
        persister = StateMachinePersister(store, machines=[ORDERS])
        persister.append(ORDERS, "1", Placed("a"), Placed("b"), expected=0)
        TimeTravel(store, machines=[ORDERS]).fork(ORDERS, "1", to="2", at_version=1)
        StreamTransfer(store).copy_to(other, state_ids=["order-2"])
        travel = TimeTravel(other, machines=[ORDERS])
        assert [origin.state_id for origin in travel.lineage(ORDERS, "2")] == ["order-1"]
        assert [(step.state_id, step.version) for step in travel.history(ORDERS, "2")] == [("order-2", 1)]


@pytest.mark.parametrize("made", [object(), {1, 2}])
def test_code_that_makes_no_state_is_reported(made: object) -> None:
    """By each of them, for each stream, as something that fails; the others are gone on with."""
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[ORDERS], snapshot_every=3)
        for id in ("1", "2"):
            for version in range(4):
                persister.append(ORDERS, id, Placed(f"{version}"), expected=version)
        broken: Machine[Any, Any] = Machine("order", Order(), lambda _order, _event: made, events=[Placed])
        report = TimeTravel(store, machines=[broken]).replay_check()
        assert {(found.state_id, found.kind) for found in report.divergences} == {
            ("order-1", "fails"),
            ("order-2", "fails"),
        }
        checked = StateMachinePersister(store, machines=[broken]).validate_consistency()
        assert [finding.state_id for finding in checked.findings] == ["order-1", "order-2"]
        assert all("can't be replayed" in finding.problem for finding in checked.findings)


def test_replay_names_a_base_without_its_snapshot() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[ORDERS])
        for version in range(6):
            persister.append(ORDERS, "1", Placed(f"{version}"), expected=version)
        RetentionManager(store, machines=[ORDERS]).prune(POLICY)
        base = next(persister.history(ORDERS, "1")).version - 1
        key = snapshot_key("default", "order-1", base)
        drive(store.commit(Batch("t", [Delete(key, Require.EXISTS)])))
        (found,) = TimeTravel(store, machines=[ORDERS]).replay_check().divergences
        assert (found.state_id, found.kind) == ("order-1", "corrupt")
        assert "the snapshot at its base is missing" in found.problem


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
