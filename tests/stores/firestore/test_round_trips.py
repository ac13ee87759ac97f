"""How many calls an operation costs: on a real database each is tens of milliseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from eventstate import Event, StateMachinePersister
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.firestore import open_firestore
from eventstate.stores.firestore.store import FirestoreStore

pytestmark = pytest.mark.backend("firestore")


@pytest.fixture
def stores(emulator_host: str, project_id: str) -> Iterator[Callable[[], FirestoreStore]]:
    opened: list[FirestoreStore] = []

    def open_one() -> FirestoreStore:
        store = open_firestore(project_id, runtime=BlockingRuntime(), emulator_host=emulator_host)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


def spent(store: FirestoreStore, call: Callable[[], object]) -> Counter[str]:
    before = Counter(store.rpc_count)
    call()
    return Counter(store.rpc_count) - before


def with_versions(store: FirestoreStore, versions: int) -> StateMachinePersister:
    persister = StateMachinePersister(store, snapshot_every=10)
    for version in range(versions):
        persister.append("doc-1", Event("set", state={"n": version + 1}), expected=version)
    return persister


def test_a_warm_append_is_one_call(stores: Callable[[], FirestoreStore]) -> None:
    store = stores()
    persister = with_versions(store, 3)
    spend = spent(store, lambda: persister.append("doc-1", Event("set", state={"n": 4}), expected=3))
    assert spend == {"Commit": 1}


def test_an_append_with_a_snapshot_is_one_call(stores: Callable[[], FirestoreStore]) -> None:
    store = stores()
    persister = with_versions(store, 9)
    spend = spent(store, lambda: persister.append("doc-1", Event("set", state={"n": 10}), expected=9))
    assert spend == {"Commit": 1}
    assert persister.load_snapshot("doc-1") is not None


def test_a_cold_append_is_two_calls(stores: Callable[[], FirestoreStore]) -> None:
    with_versions(stores(), 3)
    store = stores()
    persister = StateMachinePersister(store)
    spend = spent(store, lambda: persister.append("doc-1", Event("set", state={"n": 4}), expected=3))
    assert spend == {"BatchGetDocuments": 1, "Commit": 1}


def test_an_append_to_what_was_loaded_is_one_call(stores: Callable[[], FirestoreStore]) -> None:
    with_versions(stores(), 3)
    store = stores()
    loaded = StateMachinePersister(store).load("doc-1")
    other = StateMachinePersister(store)
    spend = spent(store, lambda: other.append("doc-1", Event("set", state={"n": 4}), expected=loaded))
    assert spend == {"Commit": 1}


def test_a_load_of_the_current_state_is_one_call(stores: Callable[[], FirestoreStore]) -> None:
    with_versions(stores(), 3)
    store = stores()
    assert spent(store, lambda: StateMachinePersister(store).load("doc-1")) == {"BatchGetDocuments": 1}


@pytest.mark.parametrize("version", [1, 9, 10, 11, 25, 39, 40])
def test_a_load_of_a_version_is_at_most_three_calls(stores: Callable[[], FirestoreStore], version: int) -> None:
    with_versions(stores(), 40)
    store = stores()
    persister = StateMachinePersister(store, snapshot_every=10)
    spend = spent(store, lambda: persister.load("doc-1", at_version=version))
    assert spend.total() <= 3, spend
    assert persister.load("doc-1", at_version=version).data == {"n": version}
