"""The port's promises when several commit at the same time: one winner, nothing torn, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from eventstate.core.documents import CURSOR, ENTRY, HEAD, CommitResult, Document
from eventstate.stores.base import Store
from eventstate.testing.conformance.suite import (
    Batch,
    Check,
    Committed,
    Key,
    Put,
    Refused,
    Require,
    Suite,
    body,
    case,
    commit,
    put,
    read,
    unique,
)


class ContentionCases(Suite):
    """Threads or tasks that want the same documents."""

    def _stores(self) -> list[Store]:
        """One store for each writer: half of them share one, the others share as little as they can."""
        shared, apart = self.open(), self.open(apart=True)
        return [shared if number % 2 else apart for number in range(self.writers)]

    async def _race(self, calls: list[Callable[[], Awaitable[CommitResult]]]) -> list[CommitResult]:
        results = await self.together(calls)
        assert all(isinstance(result, Committed | Refused) for result in results), results
        return results

    @case
    async def test_of_several_who_create_a_document_one_wins(self) -> None:
        stores = self._stores()
        for round in range(self.rounds):
            for kind in (HEAD, ENTRY, CURSOR):
                key = Key(kind, "g", f"r{round}")
                results = await self._race(
                    [partial(store.commit, _batch(Put(key, b"", Require.ABSENT))) for store in stores]
                )
                await self._one_winner(key, stores[0], results)

    @case
    async def test_of_several_who_replace_a_revision_one_wins(self) -> None:
        stores = self._stores()
        keys = [Key(kind, "g", "a") for kind in (HEAD, CURSOR)]
        await put(stores[0], *keys)
        for _ in range(self.rounds):
            for key in keys:
                before = await _there(stores[0], key)
                results = await self._race(
                    [partial(store.commit, _batch(Put(key, b"", before.revision))) for store in stores]
                )
                await self._one_winner(key, stores[0], results)

    async def _one_winner(self, key: Key, store: Store, results: list[CommitResult]) -> None:
        won = [result for result in results if isinstance(result, Committed)]
        assert len(won) == 1, f"{len(won)} of {len(results)} won {key}"
        assert (await _there(store, key)).revision == won[0].revisions[key], "the winner's document is not there"

    @case
    async def test_no_increment_is_lost(self) -> None:
        """Each reads, adds one and replaces what it read, until it wins."""
        stores = self._stores()
        key = Key(CURSOR, "g", "counter")
        await stores[0].commit(_batch(Put(key, b"0", Require.ANY)))

        async def add(store: Store) -> None:
            for _ in range(4):
                for _ in range(1000):
                    found = await _there(store, key)
                    new = str(int(found.body) + 1).encode()
                    if isinstance(await commit(store, Put(key, new, found.revision)), Committed):
                        break
                else:
                    raise AssertionError("this writer never wins")

        await self.together([partial(add, store) for store in stores])
        assert int((await _there(stores[0], key)).body) == 4 * len(stores)

    @case
    async def test_batches_are_never_torn(self) -> None:
        """Documents always written together hold the same token in every state that a batch can be conditional on."""
        stores = self._stores()
        keys = [Key(HEAD, "g", "a"), Key(CURSOR, "g", "b"), Key(CURSOR, "h", "c")]
        await put(stores[0], *keys)
        seen: list[set[bytes]] = []
        ended: list[Store] = []

        async def write(store: Store) -> None:
            try:
                for _ in range(self.rounds):
                    await put(store, *keys)
                    await self.runtime.sleep(0)
            finally:
                ended.append(store)

        async def look() -> None:
            store = stores[-1]
            last = False
            while not last:
                last = len(ended) == len(stores) - 1
                found = (await store.get(keys)).documents
                assert set(found) == set(keys), "a document of the batch is missing"
                checks = [Check(key, found[key].revision) for key in keys]
                if isinstance(await commit(store, *checks), Committed):
                    seen.append({document.body for document in found.values()})
                await self.runtime.sleep(0)

        await self.together([look, *(partial(write, store) for store in stores[:-1])])
        assert seen, "no consistent state was ever seen"
        assert all(len(bodies) == 1 for bodies in seen), "half of a batch shows"

    @case
    async def test_a_check_holds_at_the_moment_of_the_commit(self) -> None:
        """Two who each check what the other writes can't both be accepted (write skew)."""
        stores = self._stores()[:2]
        for round in range(self.rounds):
            keys = [Key(CURSOR, "g", f"left {round}"), Key(CURSOR, "g", f"right {round}")]
            results = await self._race(
                [
                    partial(store.commit, _batch(Check(theirs, Require.ABSENT), Put(own, b"", Require.ABSENT)))
                    for store, own, theirs in zip(stores, keys, reversed(keys), strict=True)
                ]
            )
            there = (await stores[0].get(keys)).documents
            assert len(there) == sum(isinstance(result, Committed) for result in results)
            assert len(there) < 2, "both were accepted, though each checked that the other's document is absent"

    @case
    async def test_every_acknowledged_write_is_there(self) -> None:
        """Writers that are not in each other's way, committing at the same time."""
        stores = self._stores()

        async def write(number: int) -> list[tuple[Key, str]]:
            own: list[tuple[Key, str]] = []
            for version in range(self.rounds):
                key = Key(ENTRY, "g", f"s{number}", version)
                result = await put(stores[number], key)
                own.append((key, result.revisions[key]))
            return own

        written = [
            item for part in await self.together([partial(write, n) for n in range(len(stores))]) for item in part
        ]
        found = (await stores[0].get([key for key, _ in written])).documents
        assert {key: document.revision for key, document in found.items()} == dict(written)

    @case
    async def test_a_cancelled_commit_is_whole_or_absent(self) -> None:
        """Only where calls can be cancelled; the store goes on working."""
        if self.world.name == "sync":
            return
        store = self.open()
        batches = [_pair(number) for number in range(self.writers * 4)]
        tasks = [asyncio.ensure_future(store.commit(batch)) for batch in batches]
        for number, task in enumerate(tasks):
            if number % 3 == 0:
                await asyncio.sleep(0)
            if number % 2 == 0:
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        # A batch that was in flight may still land: what was acknowledged must be there, and nothing in part.
        for batch, result in zip(batches, results, strict=True):
            found = (await store.get([operation.key for operation in batch.operations])).documents
            assert isinstance(result, Committed | asyncio.CancelledError), result
            if isinstance(result, Committed):
                assert len(found) == 2, "an acknowledged batch is not there"
            elif len(found) == 1:
                found = (await store.get([operation.key for operation in batch.operations])).documents
                assert len(found) == 2, "half of a cancelled batch shows"
        await put(store, Key(CURSOR, "g", "after"))


def _batch(*operations: Put | Check) -> Batch:
    """A batch whose empty bodies are filled with its token."""
    token = unique()
    filled = [op._replace(body=op.body or body(token)) if isinstance(op, Put) else op for op in operations]
    return Batch(token, filled)


def _pair(number: int) -> Batch:
    return _batch(
        Put(Key(HEAD, "g", f"p{number}"), b"", Require.ABSENT),
        Put(Key(ENTRY, "g", f"p{number}", 1), b"", Require.ABSENT),
    )


async def _there(store: Store, key: Key) -> Document:
    found = await read(store, key)
    assert found is not None, f"{key} is absent"
    return found
