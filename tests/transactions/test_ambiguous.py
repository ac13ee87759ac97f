"""Commits of transactions that were applied while their answers were lost: each is found to be done, once."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventstate import ANY, Event, RetryPolicy, StateMachinePersister, Transaction, TransactionManager, open_store
from eventstate.core.documents import DOCUMENT, TRANSACTION, Batch, CommitResult, Committed, Key, Unknown
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store
from eventstate.testing.faults import FaultyStore
from eventstate.testing.grpc_proxy import GrpcProxy, Lose, Silence
from eventstate.testing.tcp_proxy import TcpProxy

CALL_SECONDS = 60.0
"""Longer than any call may take, however busy the machine is: settling gives up after 15."""

CODES = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL", "ABORTED", "RESOURCE_EXHAUSTED", "CANCELLED")
PATIENT = RetryPolicy(attempts=1000, initial=0.002, cap=0.05, timeout=60)


class LosingStore(FaultyStore):
    """Loses most of the answers that say committed, and some of the others.

    Attributes:
        proven: batches of transactions that were applied by the copy whose answer was lost.
    """

    def __init__(self, store: Store, chance: random.Random) -> None:
        super().__init__(store)
        self._inner = store
        self._chance = chance
        self.proven: set[str] = set()

    async def commit(self, batch: Batch) -> CommitResult:
        result = await self._inner.commit(batch)
        is_done = isinstance(result, Committed) and any(op.key.kind == TRANSACTION for op in batch.operations)
        if self._chance.random() >= (0.9 if is_done else 0.2):
            return result
        if is_done:
            self.proven.add(batch.token)
        return Unknown("the answer was lost")


def note(tx: Transaction, writer: int, mark: str) -> str:
    """Documents alone: a counter shared with some others, one of the writer's, a note of the mark."""
    for counter in (f"shared-{writer % 2}-{len(mark) % 2}", f"own-{writer}"):
        tx.put_document("counters", counter, (tx.get_document("counters", counter) or 0) + 1)
    tx.put_document("marks", mark, (tx.get_document("marks", mark) or 0) + 1)
    return mark


def append(tx: Transaction, writer: int, mark: str) -> str:
    """The same with an event."""
    note(tx, writer, mark)
    tx.append(f"log-{writer % 3}", Event("noted", state={"mark": mark}), expected=ANY)
    return mark


def found_marks(store: Store) -> Counter[str]:
    """How often each mark was noted, as counted by the transactions themselves."""
    counts: Counter[str] = Counter()
    after: Key | None = None
    manager = TransactionManager(store)
    while True:
        page = drive(store.scan(DOCUMENT, "default", prefix="marks/", after=after, limit=300))
        ids = [document.key.id.removeprefix("marks/") for document in page.documents]
        values = manager.execute_transaction(lambda tx, ids=ids: [tx.get_document("marks", id) for id in ids])
        counts.update(dict(zip(ids, values, strict=True)))
        after = page.next
        if after is None:
            return counts


def counted(store: Store) -> int:
    """The sum of the shared counters."""
    ids = [f"shared-{first}-{second}" for first in range(2) for second in range(2)]
    return TransactionManager(store).execute_transaction(
        lambda tx: sum(tx.get_document("counters", id) or 0 for id in ids)
    )


def check_each_once(store: Store, acknowledged: dict[str, bool]) -> None:
    """Each mark there once; ``acknowledged`` says for each whether it came with an event."""
    assert found_marks(store) == Counter(dict.fromkeys(acknowledged, 1))
    assert counted(store) == len(acknowledged)
    with_event = sorted(mark for mark, has_event in acknowledged.items() if has_event)
    persister = StateMachinePersister(store)
    logs = [item.id for item in persister.recover()]
    assert sorted(step.to_state["mark"] for log in logs for step in persister.history(log)) == with_event
    assert persister.validate_consistency().is_consistent


def lose_among_threads(store: Store, proven: int, *, threads: int = 8) -> None:
    seed = random.randrange(10**9)
    acknowledged: dict[str, bool] = {}
    errors: list[str] = []
    longest: list[float] = [0.0]
    lines = [LosingStore(store, random.Random(f"{seed}.{number}")) for number in range(threads)]

    def work(writer: int) -> None:
        manager = TransactionManager(lines[writer], retry=PATIENT)
        number = 0
        try:
            while sum(len(line.proven) for line in lines) < proven:
                number += 1
                mark = f"{writer}.{number}"
                began = time.monotonic()
                operation = append if number % 2 else note
                assert manager.execute_transaction(operation, writer, mark) == mark
                longest[0] = max(longest[0], time.monotonic() - began)
                acknowledged[mark] = operation is append
        except BaseException:
            errors.append(traceback.format_exc())

    workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(3000)
    assert errors == [], f"seed {seed}\n{errors[0]}"
    assert not any(worker.is_alive() for worker in workers), "a call never ended"
    found = sum(len(line.proven) for line in lines)
    print(f"{store.url}: {found} proven of {len(acknowledged)} transactions; longest call {longest[0]:.2f} s")
    assert found >= proven
    assert longest[0] < CALL_SECONDS
    check_each_once(store, acknowledged)


@pytest.fixture(params=["memory", "sqlite"])
def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db?durability=off"
    with open_store(url) as store:
        yield store


@pytest.mark.timeout(300)
def test_answers_lost_by_chance(embedded: Store) -> None:
    lose_among_threads(embedded, 1_000)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_answers_lost_by_chance_for_long(embedded: Store) -> None:
    lose_among_threads(embedded, 10_000)


# On the emulator


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


def on_emulator(host: str, project: str, **options: Any) -> Store:
    from eventstate.stores.firestore import open_firestore

    return open_firestore(project, runtime=BlockingRuntime(), emulator_host=host, **options)


def lose_on_emulator(host: str, project: str, lost: int) -> None:
    acknowledged: dict[str, bool] = {}
    longest = 0.0
    with CountingProxy(host) as proxy:
        with on_emulator(proxy.host, project, timeout=1.0) as store:
            manager = TransactionManager(store)
            for number in range(lost):
                mark = f"m{number}"
                before = proxy.applied
                proxy.inject("Commit", Silence() if number % 100 == 99 else Lose(code=CODES[number % len(CODES)]))
                began = time.monotonic()
                operation = append if number % 2 else note
                assert manager.execute_transaction(operation, 0, mark) == mark
                longest = max(longest, time.monotonic() - began)
                # One yes of the server, given to the copy whose answer was lost: later copies were refused.
                assert proxy.applied == before + 1
                acknowledged[mark] = operation is append
        assert proxy.calls["Commit"] >= 2 * lost
    print(f"emulator: {lost} proven, longest call {longest:.2f} s")
    assert longest < CALL_SECONDS
    with on_emulator(host, project) as store:
        check_each_once(store, acknowledged)


@pytest.mark.timeout(300)
@pytest.mark.backend("firestore")
def test_answers_lost_by_the_server(emulator_host: str, project_id: str) -> None:
    lose_on_emulator(emulator_host, project_id, 180)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.backend("firestore")
def test_answers_lost_by_the_server_for_long(emulator_host: str, project_id: str) -> None:
    lose_on_emulator(emulator_host, project_id, 1_000)


@pytest.mark.timeout(300)
@pytest.mark.backend("firestore")
def test_answers_lost_with_their_connection(emulator_host: str, project_id: str) -> None:
    cut, proven, longest = 45, 0, 0.0
    with TcpProxy(emulator_host) as proxy, on_emulator(proxy.host, project_id, timeout=5.0) as store:
        manager = TransactionManager(store)
        for number in range(cut):
            mark = f"mark-{number}-"
            cuts, commits = proxy.cuts, store.rpc_count["Commit"]  # type: ignore[attr-defined]
            proxy.cut_after(f'"result":"{mark}"'.encode(), delay=0.03)
            began = time.monotonic()
            assert manager.execute_transaction(note, 0, mark) == mark
            longest = max(longest, time.monotonic() - began)
            assert proxy.cuts > cuts, "the connection was not cut"
            # A resend that lands is the second commit; one that is refused is followed by that of the outcome.
            proven += store.rpc_count["Commit"] - commits >= 3  # type: ignore[attr-defined]
    print(f"emulator: {proven} of {cut} cuts proven, longest call {longest:.2f} s")
    assert proven >= cut / 2
    assert longest < CALL_SECONDS
    with on_emulator(emulator_host, project_id) as store:
        check_each_once_without_events(store, cut)


def check_each_once_without_events(store: Store, total: int) -> None:
    assert found_marks(store) == Counter({f"mark-{number}-": 1 for number in range(total)})
    assert counted(store) == total
