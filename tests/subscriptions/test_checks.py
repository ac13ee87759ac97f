"""A page of entries that is checked at once says what each entry says that is checked alone; no read undoes another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstate import ANY, Event, StateMachinePersister, Subscription
from eventstate.core.documents import Document, FeedPage, Fetched, Key, rows_of
from eventstate.errors import StoreUnavailableError
from eventstate.log.following import Selection, follow
from eventstate.log.following.checks import ChainChecks
from eventstate.log.following.followed import Followed, FollowedRows
from eventstate.runtime.blocking import drive
from eventstate.stores.memory import MemoryStore
from tests.subscriptions.hasty import HastyRuntime

Feed = list[tuple[int, Document]]

appends = st.tuples(st.sampled_from(["a-1", "a-2", "b-1"]), st.integers(1, 3))
damages = st.tuples(
    st.sampled_from(["drop", "twice", "flip", "shift", "text", "newer"]), st.integers(0, 50), st.integers(0, 500)
)


def written(history: Sequence[tuple[str, int]]) -> Feed:
    store = MemoryStore(HastyRuntime())
    persister = StateMachinePersister(store, governor="g")
    for id, count in history:
        persister.append(id, *(Event("xy"[number % 2], state={"n": number}) for number in range(count)), expected=ANY)
    return list(drive(store.feed(0)).entries)


def damage(feed: Feed, what: str, at: int, byte: int) -> None:
    if not feed or any(isinstance(document.body, str) for _, document in feed):
        return
    at %= len(feed)
    position, document = feed[at]
    body, key = document.body, document.key
    if what == "drop":
        del feed[at]
    elif what == "twice":
        feed.insert(at, feed[at])
    elif what == "shift":  # this and all later ones of its stream
        feed[at:] = [
            (p, d._replace(key=d.key._replace(n=d.key.n - 1)) if d.key.id == key.id else d) for p, d in feed[at:]
        ]
    elif what == "flip":
        byte %= len(body)
        feed[at] = position, document._replace(body=body[:byte] + bytes([body[byte] ^ 1]) + body[byte + 1 :])
    elif what == "newer":
        feed[at] = position, document._replace(body=body[:-1] + b',"f":2}')
    else:
        text: Any = body.decode()
        feed[at] = position, document._replace(body=text)


def said(followed: Followed) -> tuple[Any, ...]:
    problem = followed.problem
    return followed.position, followed.stream, followed.version, followed.entry, problem and str(problem)


@settings(max_examples=150)
@given(st.lists(appends, max_size=14), st.lists(damages, max_size=2), st.integers(1, 5))
def test_a_page_says_what_each_entry_says(
    history: list[tuple[str, int]], hurt: list[tuple[str, int, int]], limit: int
) -> None:
    feed = written(history)
    for what, at, byte in hurt:
        damage(feed, what, at, byte)
    for selection in (Selection(), Selection("g", machines=frozenset({"a"}))):
        alone, together = ChainChecks(MemoryStore(HastyRuntime())), ChainChecks(MemoryStore(HastyRuntime()))
        wanted = [(position, document) for position, document in feed if selection.takes_stream(document.key)]
        expected = [said(alone.follow(position, document, None)) for position, document in wanted]
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(feed), limit):
            rows = rows_of(feed[start : start + limit])
            page = FollowedRows(together.follow_all(rows, selection), rows.streams)
            assert [said(page[number]) for number in range(len(page))] == [said(entry) for entry in page[:]]
            found += map(said, page)
        assert found == expected


class FailingStore(MemoryStore):
    """Fails at one of its reads."""

    def __init__(self, failing: int) -> None:
        super().__init__(HastyRuntime())
        self.left = failing

    def _read(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise StoreUnavailableError(store=self.url, detail="for a moment")

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        self._read()
        return await super().feed(after, limit=limit)

    async def get(self, keys: Sequence[Key]) -> Fetched:
        self._read()
        return await super().get(keys)


@pytest.mark.backend("memory")
@pytest.mark.parametrize("selection", [Selection("g"), Selection("g", "a-1")])
@pytest.mark.parametrize("failing", range(1, 9))
def test_a_read_that_failed_finds_the_same_again(selection: Selection, failing: int) -> None:
    store = FailingStore(0)
    persister = StateMachinePersister(store, governor="g")
    for number in range(9):
        persister.append("a-1", Event("x", state=number), expected=ANY)
    store.left = failing
    follower = follow(store, selection)
    found: list[Followed] = []
    while not follower.is_caught_up:
        try:
            found += drive(follower.read(4)).entries
        except StoreUnavailableError:
            continue
    assert [followed.version for followed in found] == list(range(1, 10))
    assert [followed.problem for followed in found] == [None] * 9


@pytest.mark.backend("memory")
def test_what_is_decoded_alone_and_with_its_commit_is_the_same() -> None:
    store = MemoryStore(HastyRuntime())
    persister = StateMachinePersister(store)
    for number in range(4):
        events = [Event("x", state={"n": number, "part": part}) for part in range(1 + number % 2)]
        persister.append("a-1", *events, expected=ANY, changed_by="kim")
    looked, whole = (list(Subscription(persister).deliveries(until_caught_up=True)) for _ in range(2))
    for one, other in zip(looked, whole, strict=True):
        assert (one.data, one.action, one.event) == (other.stored.body["state"], other.stored.type, other.event)
        assert one.followed.entry == other.followed.entry
        assert (one.metadata, one.timestamp, one.position) == (other.metadata, other.timestamp, other.position)
    assert [(d.version, d.is_last) for d in looked] == [
        (1, True),
        (2, False),
        (3, True),
        (4, True),
        (5, False),
        (6, True),
    ]
