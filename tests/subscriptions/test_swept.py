"""Where there is no order over streams: complete and in the order of each stream, whatever the feed says."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate import ANY, Event, StateMachinePersister, Subscription
from eventstate.core.documents import HEAD, Batch, FeedPage, Key, Page, Put, Require
from eventstate.errors import StoreUnavailableError
from eventstate.log.following import Place, Selection, follow
from eventstate.machines.deliveries import Delivery
from eventstate.runtime.blocking import drive
from eventstate.stores.memory import MemoryStore
from eventstate.testing.deliveries import Got, Marked, Session, Truth, check_deliveries, committed_entries
from eventstate.testing.unordered import UnorderedStore
from tests.subscriptions.hasty import HastyRuntime

STREAMS = ("a-1", "a-2", "b-1", "b-2")
SELECTIONS = [Selection("g"), Selection(), Selection("g", machines=frozenset({"a"})), Selection("g", "b-1")]
SELECTIONS += [Selection("g", actions=frozenset({"x"}))]
Appended = tuple[str, str, list[str]]


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


class HidingStore(UnorderedStore):
    """Its feed shows everything but one stream; heads that are read are counted."""

    def __init__(self, runtime: HastyRuntime, hidden: str = "") -> None:
        self._all = MemoryStore(runtime)
        super().__init__(self._all, Random(1))
        self._hidden = hidden
        self.heads = 0

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        page = await self._all.feed(after, limit=limit)
        return FeedPage([item for item in page.entries if item[1].key.id != self._hidden], page.position)

    async def scan(self, kind: str, owner: str, **options: Any) -> Page:
        page = await super().scan(kind, owner, **options)
        self.heads += len(page.documents) if kind == HEAD else 0
        return page


@pytest.mark.backend("memory")
def test_a_feed_that_never_ends_does_not_put_the_sweep_off() -> None:
    runtime = HastyRuntime()
    store = HidingStore(runtime, "slow-1")
    persister = StateMachinePersister(store, governor="g")
    persister.append("slow-1", Event("x", state=0), expected=ANY)
    follower = follow(store, Selection("g"))
    seen: set[str] = set()
    for _ in range(50):
        persister.append("busy-1", Event("x", state=0), expected=ANY)
        runtime.seconds += 1
        seen |= {followed.stream[1] for followed in drive(follower.read()).entries}
    assert seen == {"busy-1", "slow-1"}
    assert follower.is_caught_up, "with busy writers, too"


@pytest.mark.backend("memory")
@pytest.mark.parametrize("hidden", ["", "a-1", "a-2"])
def test_the_mark_comes_though_others_write_as_fast(hidden: str) -> None:
    store = HidingStore(HastyRuntime(), hidden)
    persister = StateMachinePersister(store)
    for id in ("a-1", "a-2"):
        persister.append(id, *[Event("x", state=0)] * 10, expected=0)
    handled: list[str] = []

    def write(delivery: Delivery) -> None:
        handled.append(delivery.state_id)
        assert len(handled) < 500
        persister.append("a-1", Event("x", state=0), expected=ANY)

    with Subscription(persister, "mails", attempts=1, on_poison="stop") as subscription:
        subscription.run(write, until_caught_up=True)
    assert handled.count("a-1") >= 10
    assert handled.count("a-2") == 10


@pytest.mark.backend("memory")
def test_a_governor_whose_heads_could_not_be_read_is_read_again() -> None:
    class FailingOnce(HidingStore):
        has_failed = False

        async def scan(self, kind: str, owner: str, **options: Any) -> Page:
            if (kind, owner, self.has_failed) == (HEAD, "h", False):
                self.has_failed = True
                raise StoreUnavailableError(store=self.url, detail="for a moment")
            return await super().scan(kind, owner, **options)

    store = FailingOnce(HastyRuntime(), "a-1")
    for governor in "gh":
        StateMachinePersister(store, governor=governor).append("a-1", Event("x", state=1), expected=0)
    subscription = Subscription(StateMachinePersister(store, governor="g"), all_governors=True)
    found = [(delivery.governor, delivery.version) for delivery in subscription.deliveries(until_caught_up=True)]
    assert store.has_failed
    assert sorted(found) == [("g", 1), ("h", 1)]


@pytest.mark.backend("memory")
@pytest.mark.parametrize("damage", [b'{"t":"damaged', b'{"h":"","n":1000000}'])
def test_a_damaged_head_does_not_keep_sweeps_busy(damage: bytes) -> None:
    runtime = HastyRuntime()
    store = HidingStore(runtime, "a-2")
    persister = StateMachinePersister(store, governor="g")
    for number in range(20):
        persister.append(f"a-{number}", Event("x", state=1), expected=0)
    follower = follow(store, Selection("g"))
    found: list[tuple[str, int]] = []

    def heads_in(seconds: float) -> int:
        before, until = store.heads, runtime.seconds + seconds
        while runtime.seconds < until:
            runtime.seconds += 0.1
            found.extend((f.stream[1], f.version) for f in drive(follower.read()).entries)
        return store.heads - before

    heads_in(300)
    quiet = heads_in(300)
    key = Key(HEAD, "g", "a-1")
    drive(store.commit(Batch("t", [Put(key, damage, Require.EXISTS)])))
    assert heads_in(300) <= quiet + 20
    assert len(found) == 20
    persister.append("a-2", Event("x", state=1), expected=1)
    assert heads_in(300) > quiet + 40, "what the feed did not show is a reason to look more often"
    assert len(found) == 21
