"""Properties that hold for all inputs, looked for with random ones."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventstate.core.documents import CURSOR, ENTRY, HEAD, Key
from eventstate.core.format import StoredEvent
from eventstate.core.ids import check_id
from eventstate.errors import InvalidIdError
from eventstate.testing.conformance.damage import flipped
from eventstate.testing.conformance.documents import key_of
from eventstate.testing.conformance.persisters import (
    GOVERNOR,
    TALLIES,
    Added,
    Doubled,
    PersisterSuite,
    entry_key,
    replace,
    stored,
    tally_of,
)
from eventstate.testing.conformance.scanning import expected_page, scan_all
from eventstate.testing.conformance.suite import put
from tests.conformance.backends import Firestore, Memory, Sqlite, prepare

EVENT = st.builds(Added, st.text(max_size=3), st.integers(-(2**31), 2**31)) | st.builds(Doubled, st.text(max_size=3))
COMMITS = st.lists(st.lists(EVENT, min_size=1, max_size=5), min_size=1, max_size=12)


def is_id(text: str) -> bool:
    try:
        check_id("id", text)
    except InvalidIdError:
        return False
    return True


ODD = st.text(st.sampled_from("a1-:/.%!_ ~äé\u0308\ud7ff\ue000\uffee\U00010000\U0001f600"), min_size=1, max_size=6)
ID_TEXT = (ODD | st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)).filter(is_id)

BACKENDS = [
    pytest.param(Memory, 100, id="memory"),
    pytest.param(Sqlite, 40, id="sqlite"),
    pytest.param(Firestore, 12, id="firestore"),
]
ON_ALL = pytest.mark.parametrize(("backend", "examples"), BACKENDS)


def in_a_new_place(backend: type[PersisterSuite], body: Any, *args: Any) -> None:
    """Run a coroutine function with a new suite of a backend."""
    suite = backend()
    try:
        coroutine: Coroutine[Any, Any, None] = body(suite, *args)
        suite.world.run(coroutine)
    finally:
        suite.teardown_method()


@given(COMMITS)
def test_a_fold_is_deterministic_and_changes_nothing_it_is_given(commits: list[list[Any]]) -> None:
    """The same events lead to the same bytes, through the stored form and however often they are folded."""
    events = [event for commit in commits for event in commit]
    new = [TALLIES.new_event(event) for event in events]
    plain = [_stored(event, n) for n, event in enumerate(new, 1)]
    first = second = TALLIES.initial()
    for event in plain:
        before = TALLIES.dump(first)
        after = TALLIES.step(first, event, "here")
        assert TALLIES.dump(first) == before
        again = TALLIES.load(orjson.loads(before), TALLIES.schema, "here")
        second = TALLIES.step(again, event, "here")
        assert TALLIES.dump(second) == TALLIES.dump(after)
        first = after
    assert first == tally_of(events)


def _stored(event: Any, n: int) -> StoredEvent:
    return StoredEvent(n, event.type, {"type": event.type, "data": orjson.loads(event.data)}, event.schema, 0, {}, {})


@ON_ALL
def test_snapshot_plus_tail_is_full_replay(
    backend: type[PersisterSuite], examples: int, request: pytest.FixtureRequest
) -> None:
    prepare(backend, request)

    async def body(suite: PersisterSuite, commits: list[list[Any]], every: int, keep: int) -> None:
        store = suite.open()
        persister = suite.persister(store, snapshot_every=every, keep_snapshots=keep)
        events: list[Any] = []
        for commit in commits:
            await persister.append(TALLIES, "1", *commit, expected=len(events))
            events += commit
        other = suite.persister(store)
        for version in range(1, len(events) + 1):
            assert (await other.load(TALLIES, "1", at_version=version)).data == tally_of(events[:version])
        assert (await other.rebuild(TALLIES, "1", full=True)).data == tally_of(events)
        await suite.consistent(other)

    @settings(max_examples=examples)
    @given(COMMITS, st.integers(0, 12), st.integers(1, 4))
    def check(commits: list[list[Any]], every: int, keep: int) -> None:
        in_a_new_place(backend, body, commits, every, keep)

    check()


@ON_ALL
def test_ids_come_back_in_order(backend: type[PersisterSuite], examples: int, request: pytest.FixtureRequest) -> None:
    prepare(backend, request)

    async def body(suite: PersisterSuite, ids: list[str], owner: str, prefix: str, limit: int) -> None:
        store = suite.open()
        for kind in (HEAD, ENTRY, CURSOR):
            keys = [key_of(kind, id=id, owner=owner, n=n % 3) for n, id in enumerate(ids)]
            await put(store, *keys)
            assert set((await store.get(keys)).documents) == set(keys)
            chosen: list[tuple[str | None, str, Key | None]] = [
                (None, "", None),
                (None, prefix, None),
                (ids[0], "", None),
                (None, "", keys[0]),
            ]
            for id, start, after in chosen:
                found = await scan_all(store, kind, owner, id=id, prefix=start, after=after, limit=limit)
                assert found == expected_page(keys, id=id, prefix=start, after=after), (id, start, after)
        assert list(await store.owners()) == [owner]

    @settings(max_examples=examples)
    @given(st.lists(ID_TEXT, min_size=1, max_size=12, unique=True), ID_TEXT, ODD, st.integers(1, 5))
    @example(["a!000000000001", "a", "a:1", "a-1"], "..", "a", 1)
    def check(ids: list[str], owner: str, prefix: str, limit: int) -> None:
        in_a_new_place(backend, body, ids, owner, prefix, limit)

    check()


@ON_ALL
def test_every_flipped_bit_of_an_entry_is_found(
    backend: type[PersisterSuite], examples: int, request: pytest.FixtureRequest
) -> None:
    prepare(backend, request)

    async def body(suite: PersisterSuite, commits: list[list[Any]], which: int, position: int) -> None:
        store = suite.open()
        persister = suite.persister(store)
        version = 0
        ends: list[int] = []
        for commit in commits:
            version = (await persister.append(TALLIES, "1", *commit, expected=version)).version
            ends.append(version)
        key = entry_key("tally-1", ends[which % len(ends)])
        await replace(store, key, flipped((await stored(store, key)).body, position))
        report = await suite.persister(store).validate_consistency()
        assert [finding.where for finding in report.findings] == [str(key)]

    @settings(max_examples=examples)
    @given(COMMITS, st.integers(0, 100), st.integers(0, 10_000))
    def check(commits: list[list[Any]], which: int, position: int) -> None:
        in_a_new_place(backend, body, commits, which, position)

    check()


@given(ID_TEXT)
def test_an_id_that_is_allowed_is_kept_as_it_is(text: str) -> None:
    assert check_id("id", text) == text
    assert key_of(HEAD, id=text, owner=GOVERNOR).id == text
