"""Time travel beside retention: forks hold their parents, pruned beginnings come from the archive."""

from __future__ import annotations

from pathlib import Path

from eventstate import (
    At,
    DirectoryArchive,
    Machine,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    TimeTravel,
    open_store,
)
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
