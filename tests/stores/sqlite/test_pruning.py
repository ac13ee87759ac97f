"""A log in a file, pruned to a tenth: what stays is as it was, the file shrinks, the rest comes from the archive."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eventstate import (
    ANY,
    DirectoryArchive,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    Store,
    open_store,
)
from eventstate.runtime.blocking import drive
from eventstate.stores.sqlite.store import SqliteStore

STREAMS = 120
EVENTS = 20
POLICY = RetentionPolicy(keep_last=2)
Log = dict[str, list[Any]]


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Plain states of many streams, an event each, with text that takes room."""
    url = f"sqlite:///{tmp_path / 'store.db'}?durability=off"
    random = Random(5)
    with open_store(url) as store:
        persister = StateMachinePersister(store, snapshot_every=7)
        for n in range(STREAMS):
            for version in range(EVENTS):
                note = "".join(random.choices("abcdefgh ", k=200))
                persister.save_state(f"case{n}", {"n": version, "note": note}, expected=version, changed_by="kim")
    return url


def histories(store: Store, archive: DirectoryArchive | None = None) -> Log:
    persister = StateMachinePersister(store, archive=archive)
    return {state.id: list(persister.history(state.id)) for state in persister.recover()}


def states(store: Store) -> dict[str, Any]:
    return {state.id: (state.version, state.data) for state in StateMachinePersister(store).recover()}


def test_a_log_is_pruned_to_a_tenth(log: str, tmp_path: Path) -> None:
    file, archive = tmp_path / "store.db", DirectoryArchive(tmp_path / "archive")
    with open_store(log) as store:
        before, current = histories(store), states(store)
    full = file.stat().st_size
    with open_store(log) as store:
        report = RetentionManager(store, archive=archive).prune(POLICY)
        assert report.total.pruned_events == report.deleted_entries == STREAMS * (EVENTS - 2)
        assert report.total.events == STREAMS * EVENTS
        assert isinstance(store, SqliteStore)
        drive(store.vacuum())
        assert StateMachinePersister(store).validate_consistency().is_consistent
    assert file.stat().st_size < full / 2
    with open_store(log) as store:
        assert states(store) == current
        assert histories(store) == {id: steps[-2:] for id, steps in before.items()}
        assert histories(store, archive) == before
        persister = StateMachinePersister(store, archive=archive)
        for id, steps in list(before.items())[::20]:
            for step in steps:
                found = persister.load(id, at_version=step.version)
                assert (found.data, found.action, found.timestamp) == (step.to_state, step.action, step.timestamp)


def test_positions_are_not_given_out_again(log: str) -> None:
    with open_store(log) as store:
        highest = drive(store.feed(0, limit=100_000)).position
        RetentionManager(store).prune(RetentionPolicy(keep_last=1))
        saved = StateMachinePersister(store).save_state("case0", {}, expected=EVENTS)
        assert saved.position == highest + 1
        left = [document.key for _, document in drive(store.feed(0, limit=100_000)).entries]
        assert len(left) == STREAMS + 1


@pytest.mark.serial
def test_others_write_while_it_prunes(log: str, tmp_path: Path) -> None:
    archive = DirectoryArchive(tmp_path / "archive")
    failed: list[BaseException] = []
    done = threading.Event()
    written = [0, 0]

    def write(number: int) -> None:
        try:
            with open_store(log) as store:
                persister = StateMachinePersister(store, snapshot_every=3, keep_snapshots=1)
                while not done.is_set():
                    persister.save_state(f"case{written[number] % STREAMS}", {"w": number}, expected=ANY)
                    written[number] += 1
        except BaseException as error:
            failed.append(error)

    with open_store(log) as store:
        before = histories(store)
        threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                report = RetentionManager(store, archive=archive).prune(POLICY)
                assert all("next run" in problem.problem for problem in report.problems), report.problems
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert not failed
        after = histories(store, archive)
        assert StateMachinePersister(store).validate_consistency().is_consistent
    assert sum(map(len, after.values())) == STREAMS * EVENTS + sum(written)
    assert {id: steps[:EVENTS] for id, steps in after.items()} == before
