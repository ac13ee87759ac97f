"""Commits that were applied while their answers were lost: settled as committed, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from eventstate import Event, StateMachinePersister
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.firestore import open_firestore
from eventstate.stores.firestore.store import FirestoreStore
from eventstate.testing.grpc_proxy import GrpcProxy, Lose, Silence
from eventstate.testing.tcp_proxy import TcpProxy

pytestmark = pytest.mark.backend("firestore")

LOST = 420
CUT = 110
CODES = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL", "ABORTED", "RESOURCE_EXHAUSTED", "CANCELLED")


class CountingProxy(GrpcProxy):
    """Counts the commits that the server said yes to, answered or not."""

    applied = 0
    _counting = threading.Lock()

    def _forward(self, method: str, request: bytes, metadata: tuple[tuple[str, str], ...]) -> list[bytes]:
        answers = super()._forward(method, request, metadata)
        if method == "Commit":
            with self._counting:
                self.applied += 1
        return answers


@pytest.fixture
def direct(emulator_host: str, project_id: str) -> Iterator[FirestoreStore]:
    store = open_firestore(project_id, runtime=BlockingRuntime(), emulator_host=emulator_host)
    yield store
    store.close()


def check_each_once(store: FirestoreStore, streams: int, total: int) -> None:
    """Every append of the caller is there, in order and once."""
    persister = StateMachinePersister(store)
    assert persister.validate_consistency().is_consistent
    found = 0
    for stream in range(streams):
        markers = [transition.to_state["marker"] for transition in persister.history(f"doc-{stream}")]
        assert markers == list(range(stream, total, streams))
        found += len(markers)
    assert found == total


def test_answers_lost_by_the_server(emulator_host: str, project_id: str, direct: FirestoreStore) -> None:
    streams = 6
    with CountingProxy(emulator_host) as proxy:
        store = open_firestore(project_id, runtime=BlockingRuntime(), emulator_host=proxy.host, timeout=1.0)
        persister = StateMachinePersister(store)
        for marker in range(LOST):
            before = proxy.applied
            proxy.inject("Commit", Silence() if marker % 100 == 99 else Lose(code=CODES[marker % len(CODES)]))
            written = persister.append(
                f"doc-{marker % streams}", Event("set", state={"marker": marker}), expected=marker // streams
            )
            assert written.version == marker // streams + 1
            # One yes of the server, given to the copy whose answer was lost: later copies were refused.
            assert proxy.applied == before + 1
        store.close()
        assert proxy.applied == LOST
        assert proxy.calls["Commit"] >= 2 * LOST
    check_each_once(direct, streams, LOST)


def test_answers_lost_with_their_connection(emulator_host: str, project_id: str, direct: FirestoreStore) -> None:
    streams = 3
    proven = 0
    with TcpProxy(emulator_host) as proxy:
        store = open_firestore(project_id, runtime=BlockingRuntime(), emulator_host=proxy.host, timeout=5.0)
        persister = StateMachinePersister(store)
        for marker in range(CUT):
            reads = store.rpc_count["BatchGetDocuments"]
            cuts = proxy.cuts
            needle = f'"marker":{marker},'.encode()
            proxy.cut_after(needle, delay=0.03)
            state = {"marker": marker, "end": True}
            persister.append(f"doc-{marker % streams}", Event("set", state=state), expected=marker // streams)
            assert proxy.cuts > cuts, "the connection was not cut"
            # A resend that is refused is followed by reads; one that lands is not: the first copy had not arrived.
            first_of_stream = marker < streams
            proven += store.rpc_count["BatchGetDocuments"] - reads > first_of_stream
        store.close()
    assert proven >= 100
    check_each_once(direct, streams, CUT)
