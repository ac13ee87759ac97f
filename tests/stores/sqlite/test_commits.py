"""Group commit on a real file: groups form, and each member's outcome is its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from eventstate import (
    ANY,
    AsyncStateMachinePersister,
    Event,
    InvalidInputError,
    StateMachinePersister,
    VersionConflictError,
    open_async_store,
    open_store,
)
from eventstate.core.documents import CURSOR, HEAD, Batch, Committed, Key, Put, Refused, Require
from tests.stores.sqlite.world import commit, engine_of, get, groups_of, head, put

pytestmark = pytest.mark.backend("sqlite")


def run_threads(work: list[Any]) -> None:
    threads = [threading.Thread(target=call, daemon=True) for call in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not any(thread.is_alive() for thread in threads)


def test_64_threads_share_commits(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store, groups_of(engine_of(store)) as sizes:
        persister = StateMachinePersister(store)

        def work(name: int) -> None:
            for version in range(10):
                persister.append(f"doc-{name}", Event("x", state=version), expected=version)

        run_threads([lambda name=name: work(name) for name in range(64)])
        assert sum(sizes) == 640
        assert len(sizes) < 640 / 1.5, f"mean group {640 / len(sizes):.1f}"
        assert persister.get_stats().total_events == 640
        assert persister.validate_consistency().is_consistent


def test_64_tasks_share_commits_and_conflicts_are_told_right(sqlite_url: str) -> None:
    """All race for one document of each round: one wins, the others are told that they lost."""

    async def main() -> None:
        async with open_async_store(sqlite_url) as store:
            persister = AsyncStateMachinePersister(store)
            with groups_of(engine_of(store)) as sizes:
                for version in range(8):
                    calls = [persister.append("doc", Event("x", state=n), expected=version) for n in range(64)]
                    results = await asyncio.gather(*calls, return_exceptions=True)
                    won = [n for n, result in enumerate(results) if not isinstance(result, BaseException)]
                    lost = [result for result in results if isinstance(result, VersionConflictError)]
                    assert (len(won), len(lost)) == (1, 63)
                    assert {error.actual for error in lost} == {version + 1}
                    assert (await persister.load("doc")).data == won[0]
                assert len(sizes) < sum(sizes) / 1.5
            assert (await persister.validate_consistency()).is_consistent

    asyncio.run(main())


def test_every_outcome_is_right_when_writers_of_many_streams_collide(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        written: dict[str, list[int]] = {f"doc-{k}": [] for k in range(4)}
        mutex = threading.Lock()

        def work(name: int) -> None:
            for number in range(20):
                id = f"doc-{(name + number) % 4}"
                mine = name * 1000 + number
                try:
                    version = persister.load(id).version if persister.exists(id) else 0
                    persister.append(id, Event("x", state=mine), expected=version)
                except VersionConflictError:
                    continue
                with mutex:
                    written[id].append(mine)

        run_threads([lambda name=name: work(name) for name in range(16)])
        for id, numbers in written.items():
            assert sorted(t.to_state for t in persister.history(id)) == sorted(numbers)
        assert sum(map(len, written.values())) > 16


def test_one_batch_that_can_not_be_stored_does_not_hurt_the_others(sqlite_url: str) -> None:
    bad = Batch("bad", (Put(Key(CURSOR, "g", "\ud800"), b"{}", Require.ANY),))
    also_bad = Batch("also", (Put(Key(CURSOR, "g", "x", 2**70), b"{}", Require.ANY),))

    async def main() -> None:
        async with open_async_store(sqlite_url) as store:
            for _ in range(5):
                good = [put(f"good-{n}", when=Require.ANY) for n in range(20)]
                batches = [*good[:10], bad, *good[10:], also_bad, head("h", Require.ANY)]
                results = await asyncio.gather(*map(store.commit, batches), return_exceptions=True)
                for one, result in zip(batches, results, strict=True):
                    if one in (bad, also_bad):
                        assert isinstance(result, InvalidInputError)
                    else:
                        assert isinstance(result, Committed)
            assert len((await store.scan(CURSOR, "g")).documents) == 20

    asyncio.run(main())


def test_members_of_a_group_see_the_ones_before_them(sqlite_url: str) -> None:
    async def main() -> list[Any]:
        async with open_async_store(sqlite_url) as store:
            await store.commit(put("warm"))
            same = [head("doc") for _ in range(10)]
            chain = [put("c", b"1"), put("c", b"2"), put("c", b"3", Require.EXISTS)]
            results = await asyncio.gather(*map(store.commit, [*same, *chain]))
            body = (await store.get([Key(CURSOR, "g", "c")])).documents[Key(CURSOR, "g", "c")].body
            return [*results, body]

    *results, body = asyncio.run(main())
    assert [type(result) for result in results[:10]] == [Committed] + [Refused] * 9
    assert results[1].keys == {Key(HEAD, "g", "doc")}
    assert [type(result) for result in results[10:]] == [Committed, Refused, Committed]
    assert body == b"3"


def test_positions_are_gapless_and_in_commit_order(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        order: list[tuple[int | None, str]] = []

        def work(name: int) -> None:
            for _ in range(10):
                state = persister.append(f"doc-{name}", Event("x", state=0), expected=ANY)
                order.append((state.position, state.id))

        run_threads([lambda name=name: work(name) for name in range(12)])
        assert sorted(position for position, _ in order if position) == list(range(1, 121))
        from eventstate.runtime.blocking import drive

        feed = drive(store.feed(0))
        assert [position for position, _ in feed.entries] == list(range(1, 121))
        assert {(position, document.key.id) for position, document in feed.entries} == set(order)


def test_a_revision_never_comes_back(sqlite_url: str) -> None:
    key = Key(CURSOR, "g", "x")
    with open_store(sqlite_url) as store:
        seen: set[str] = set()
        for _ in range(5):
            assert isinstance(commit(store, put("x", b"same", Require.ANY)), Committed)
            seen.add(get(store, key).revision)
        assert len(seen) == 5
        assert isinstance(commit(store, put("x", b"same", seen.pop())), (Committed, Refused))
