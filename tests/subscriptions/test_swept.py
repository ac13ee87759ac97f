"""Where there is no order over streams: complete and in the order of each stream, whatever the feed says."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate import ANY, Event, StateMachinePersister
from eventstate.errors import StoreUnavailableError
from eventstate.log.following import Place, Selection, follow
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.memory import MemoryStore
from eventstate.testing.deliveries import Got, Marked, Session, Truth, check_deliveries, committed_entries
from eventstate.testing.unordered import UnorderedStore

STREAMS = ("a-1", "a-2", "b-1", "b-2")
SELECTIONS = [Selection("g"), Selection(), Selection("g", machines=frozenset({"a"})), Selection("g", "b-1")]
SELECTIONS += [Selection("g", actions=frozenset({"x"}))]
Appended = tuple[str, str, list[str]]


class HastyRuntime(BlockingRuntime):
    """Its clock goes on by itself, so that nothing is waited for."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 0.01
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


appends = st.tuples(
    st.sampled_from(["g", "h"]), st.sampled_from(STREAMS), st.lists(st.sampled_from("xy"), min_size=1, max_size=3)
)
steps = st.lists(st.one_of(appends, st.integers(1, 4)), max_size=40)


@pytest.mark.backend("memory")
@given(steps, st.sampled_from(SELECTIONS), st.integers(0, 1 << 30), st.sampled_from([0.0, 0.2]), st.integers(1, 5))
def test_any_feed_will_do(
    history: list[int | Appended], selection: Selection, seed: int, failing: float, limit: int
) -> None:
    runtime = HastyRuntime()
    store = UnorderedStore(MemoryStore(runtime), Random(seed))
    persisters = {governor: StateMachinePersister(store, governor=governor) for governor in ("g", "h")}
    reader = Reader(store, selection, limit)
    for step in history:
        if isinstance(step, int):
            store.failing = failing
            reader.read(step)
        else:
            governor, id, actions = step
            store.failing = 0.0
            persisters[governor].append(id, *(Event(action, state=1) for action in actions), expected=ANY)
    reader.catch_up()
    store.failing = 0.0
    truth = Truth([e._replace(position=None) for e in drive(committed_entries(store, Selection()))], selection)
    notes = [*reader.told, Marked(dict(truth.last))]
    assert check_deliveries(truth, [Session(Place(), notes)]) == []


class Reader:
    """Reads on through failures, and notes what it is told."""

    def __init__(self, store: UnorderedStore, selection: Selection, limit: int) -> None:
        self._follower = follow(store, selection)
        self._selection = selection
        self._limit = limit
        self.told: list[Got] = []

    def read(self, pages: int) -> None:
        for _ in range(pages):
            self._read_page()

    def catch_up(self) -> None:
        self._follower.catch_up_anew()
        while self._read_page() or not self._follower.is_caught_up:
            pass

    def _read_page(self) -> bool:
        try:
            entries, more = drive(self._follower.read(self._limit))
        except StoreUnavailableError:
            return True
        for followed in entries:
            assert followed.problem is None
            events = followed.events(self._selection)
            self.told += [Got(followed.stream, event.version, None, event.type) for event in events]
        return more


@pytest.mark.backend("memory")
def test_a_quiet_store_is_looked_at_less_and_less() -> None:
    runtime = HastyRuntime()
    store = UnorderedStore(MemoryStore(runtime), Random(1), lost=0)
    persister = StateMachinePersister(store, governor="g")
    for number in range(20):
        persister.save_state(f"a-{number}", 1, expected=0)
    reader = Reader(store, Selection("g"), 100)
    reader.catch_up()

    def reads_of(seconds: float) -> int:
        before, until = store.reads, runtime.seconds + seconds
        while runtime.seconds < until:
            runtime.seconds += 0.05
            reader.read(1)
        return store.reads - before

    first = reads_of(10)
    reads_of(300)
    assert reads_of(10) <= min(first, 8)
    assert len(reader.told) == 20
