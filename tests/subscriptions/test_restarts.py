"""A Firestore emulator that is killed and started again under a live subscription."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from eventstate import ANY, Event, StateMachinePersister, Subscription
from eventstate.core.documents import Batch, CommitResult, Committed, Key, Put, Require
from eventstate.log.following import Place, Selection
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store
from eventstate.stores.firestore import open_firestore
from eventstate.testing.deliveries import Got, Session, Truth, check_deliveries, committed_entries
from eventstate.testing.emulator import Emulator, EmulatorMissing, start_emulator
from eventstate.testing.faults import FaultyStore

SOON = 5.0
PATIENCE = 60.0
PER_COMMIT = 100
STREAMS = 6


@pytest.fixture
def emulator(emulator_host: str) -> Iterator[Emulator]:
    try:
        started = start_emulator()
    except EmulatorMissing as missing:
        pytest.skip(str(missing))
    yield started
    started.stop()


class KeptStore(FaultyStore):
    """Keeps what it commits, as a service keeps what it has acknowledged; the emulator forgets it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._kept: dict[Key, bytes] = {}

    async def commit(self, batch: Batch) -> CommitResult:
        result = await super().commit(batch)
        if isinstance(result, Committed):
            self._kept.update((op.key, op.body) for op in batch.operations if isinstance(op, Put))
        return result

    def put_back(self, store: Store) -> None:
        """Write everything that was acknowledged, heads last: nothing is told before it is there."""
        items = sorted(self._kept.items(), key=lambda item: item[0].kind == "head")
        for first in range(0, len(items), PER_COMMIT):
            puts = [Put(key, body, Require.ANY) for key, body in items[first : first + PER_COMMIT]]
            batch = Batch(store.runtime.unique(), puts)
            # A service that has just begun may be slow to answer.
            results = (drive(store.commit(batch)) for _ in range(10))
            assert any(isinstance(result, Committed) for result in results), batch


class Listening:
    """A subscription on a thread of its own, and what it is told."""

    def __init__(self, persister: StateMachinePersister) -> None:
        self.told: list[Got] = []
        self._arrived = threading.Condition()
        self._subscription = Subscription(persister, patience=120)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for delivery in self._subscription:
                with self._arrived:
                    stream = delivery.governor, delivery.state_id
                    self.told.append(Got(stream, delivery.version, None, delivery.action))
                    self._arrived.notify_all()
        except BaseException as error:
            self._failure = error

    def wait(self, state_id: str, version: int, seconds: float) -> float:
        """Seconds until this event has come."""
        began = time.monotonic()
        wanted = ("g", state_id), version
        with self._arrived:
            came = self._arrived.wait_for(lambda: any(got[:2] == wanted for got in self.told), seconds)
        assert came, f"{state_id} version {version} did not come within {seconds} s: {self._failure!r}"
        return time.monotonic() - began

    def stop(self) -> None:
        self._subscription.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self._failure is None


def restart_again_and_again(emulator: Emulator, project: str, times: int) -> list[float]:
    def open_one() -> Store:
        return open_firestore(project, runtime=BlockingRuntime(), emulator_host=emulator.host)

    waits: list[float] = []
    with open_one() as reading, open_one() as writing:
        kept = KeptStore(writing)
        listening = Listening(StateMachinePersister(reading, governor="g"))
        for number in range(times + 1):
            persister = StateMachinePersister(kept, governor="g")
            for turn in range(STREAMS * 2):
                persister.append(f"m-{turn % STREAMS}", *[Event("said", state=number)] * (1 + turn % 2), expected=ANY)
            if number == times:
                break
            # In the middle of what is being read.
            emulator.restart(kill=True)
            with open_one() as store:
                kept.put_back(store)
            last = StateMachinePersister(kept, governor="g").append("m-0", Event("said", state=-1), expected=ANY)
            waits.append(listening.wait("m-0", last.version, PATIENCE))
        final = persister.append("m-1", Event("said", state="the end"), expected=ANY)
        listening.wait("m-1", final.version, PATIENCE)
        time.sleep(0.5)
        listening.stop()
        entries = drive(committed_entries(writing, Selection()))
    truth = Truth([entry._replace(position=None) for entry in entries], Selection("g"))
    assert check_deliveries(truth, [Session(Place(), listening.told)]) == []
    print(f"back within {max(waits):.2f} s, {len(listening.told)} deliveries")
    return waits


@pytest.mark.serial
@pytest.mark.backend("firestore")
def test_an_emulator_that_is_killed_once(emulator: Emulator, project_id: str) -> None:
    restart_again_and_again(emulator, project_id, 1)


@pytest.mark.serial
@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.backend("firestore")
def test_an_emulator_that_is_killed_twenty_times(emulator: Emulator, project_id: str) -> None:
    assert max(restart_again_and_again(emulator, project_id, 20)) < SOON
