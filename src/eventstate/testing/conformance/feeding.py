"""The port's promises about the feed, the store's clock and the end of a store's life."""

from __future__ import annotations

from functools import partial

from eventstate.core.documents import COMMAND, CURSOR, ENTRY, HEAD, Document
from eventstate.errors import StoreClosedError
from eventstate.stores.base import Store
from eventstate.testing.conformance.suite import (
    Batch,
    Check,
    Delete,
    Key,
    Put,
    Require,
    Suite,
    body,
    case,
    commit,
    committed,
    put,
    raises,
    read,
    remove,
    unique,
)


def entry(stream: str, version: int, owner: str = "g") -> Key:
    return Key(ENTRY, owner, stream, version)


async def feed_all(store: Store, *, after: int = 0, limit: int = 1000) -> list[tuple[int, Document]]:
    """The entries of all pages."""
    found: list[tuple[int, Document]] = []
    while True:
        page = await store.feed(after, limit=limit)
        assert not page.entries or page.position >= page.entries[-1][0], "the page ends before its last entry"
        found.extend(page.entries)
        if page.position == after:
            assert not page.entries, "a page with entries that does not go on"
            return found
        after = page.position


def streams_in_order(entries: list[tuple[int, Document]]) -> None:
    """Fail unless positions never go back and each stream's versions follow each other."""
    positions = [position for position, _ in entries]
    assert positions == sorted(positions), f"positions go back: {positions}"
    seen: dict[tuple[str, str], int] = {}
    for _, document in entries:
        key = document.key
        before = seen.get((key.owner, key.id), 0)
        assert key.n == before + 1, f"{key} follows version {before} of its stream"
        seen[key.owner, key.id] = key.n


class FeedCases(Suite):
    """Entries of all streams, in order, from any position on."""

    async def _written(self, store: Store) -> list[Key]:
        """Entries in commit order: several streams and owners, alone and several in one batch, other kinds between."""
        written: list[Key] = []
        for version in range(1, 6):
            for stream in ("a", "a-1", "b"):
                await put(store, entry(stream, version), Key(HEAD, "g", stream), Key(CURSOR, "g", "c"))
                written.append(entry(stream, version))
            pair = [entry("x", version, "h"), entry("y", version, "h")]
            await put(store, *pair)
            written += pair
        return written

    @case
    async def test_nothing_is_skipped_and_nothing_comes_twice(self) -> None:
        store = self.open()
        assert await feed_all(store) == []
        written = await self._written(store)
        for limit in (1, 2, 3, 7, 1000):
            found = await feed_all(store, limit=limit)
            streams_in_order(found)
            assert sorted(document.key for _, document in found) == sorted(written), f"with limit={limit}"
            if store.capabilities.feed_order == "store":
                assert [document.key for _, document in found] == written, "not in commit order"
        assert {document.key: document for _, document in found} == (await store.get(written)).documents

    @case
    async def test_it_goes_on_from_every_position(self) -> None:
        store = self.open()
        await self._written(store)
        everything = await feed_all(store)
        for position, _ in everything:
            rest = [item for item in everything if item[0] > position]
            assert await feed_all(store, after=position) == rest
            assert await feed_all(store, after=position, limit=2) == rest
        last = everything[-1][0]
        page = await store.feed(last)
        assert (list(page.entries), page.position) == ([], last)
        await put(store, entry("a", 6))
        assert [document.key for _, document in await feed_all(store, after=last)] == [entry("a", 6)]

    @case
    async def test_a_commit_tells_its_position(self) -> None:
        """Where the store has an order: the position of the batch's last entry, none without an entry."""
        store = self.open()
        if store.capabilities.feed_order != "store":
            return
        assert (await put(store, Key(CURSOR, "g", "c"))).position is None
        last = 0
        for version in range(1, 5):
            result = await put(store, entry("a", version), Key(HEAD, "g", "a"), entry("b", version))
            found = await feed_all(store, after=last)
            assert [document.key for _, document in found] == [entry("a", version), entry("b", version)]
            assert found[0][0] < found[1][0] == result.position
            last = found[-1][0]

    @case
    async def test_a_position_is_not_given_out_again(self) -> None:
        """An entry committed after another was deleted comes after all positions that were ever told."""
        store = self.open()
        if store.capabilities.feed_order != "store":
            return
        for _ in range(3):
            told = (await put(store, entry("a", 1))).position
            assert told is not None
            await remove(store, entry("a", 1))
            later = (await put(store, entry("b", 1))).position
            assert later is not None
            assert later > told, "a reader that was at this position misses the new entry"
            await remove(store, entry("b", 1))

    @case
    async def test_a_reader_close_behind_writers_misses_nothing(self) -> None:
        store = self.open()
        behind = self.open(apart=True)
        versions = self.rounds
        streams = [f"s{number}" for number in range(self.writers)]
        ended: list[str] = []
        seen: list[tuple[int, Document]] = []

        async def write(stream: str) -> None:
            try:
                for version in range(1, versions + 1):
                    await put(store, entry(stream, version))
                    await self.runtime.sleep(0)
            finally:
                ended.append(stream)

        async def follow() -> None:
            position, idle = 0, 0
            while idle < 2:
                page = await behind.feed(position, limit=3)
                seen.extend(page.entries)
                position = page.position
                idle = idle + 1 if not page.entries and len(ended) == len(streams) else 0
                await self.runtime.sleep(0)

        await self.together([follow, *(partial(write, stream) for stream in streams)])
        if store.capabilities.feed_order == "store":
            streams_in_order(seen)
            positions = [position for position, _ in seen]
            assert len(set(positions)) == len(positions), "two entries share a position"
            assert len(seen) == versions * len(streams), "the reader missed entries"
        whole = await feed_all(store)
        streams_in_order(whole)
        assert len(whole) == versions * len(streams)


class ClockCases(Suite):
    """Times by the store's clock."""

    @case
    async def test_times_never_go_back(self) -> None:
        store = self.open()
        key, last = Key(CURSOR, "g", "c"), 0
        for _ in range(20):
            result = await put(store, key)
            found = await store.get([key])
            page = await store.scan(CURSOR, "g")
            written = found.documents[key].written_at
            assert written == result.at, "the commit tells another time than the document"
            assert last <= written <= found.read_at, f"{last}, {written}, {found.read_at}"
            assert written <= page.read_at
            last = written

    @case
    async def test_a_second_store_has_the_same_clock(self) -> None:
        store, other = self.open(), self.open(apart=True)
        key = Key(CURSOR, "g", "c")
        for _ in range(5):
            first = (await put(store, key)).at
            second = (await put(other, key)).at
            assert first <= second <= (await store.get([key])).read_at


class LifecycleCases(Suite):
    """Opening, closing, and what a second store sees."""

    @case
    async def test_an_acknowledged_commit_is_seen_by_everyone_at_once(self) -> None:
        store, other, apart = self.open(), self.open(), self.open(apart=True)
        for number in range(10):
            for key in (Key(HEAD, "g", "a"), entry("a", number), Key(CURSOR, "g", "c")):
                token = unique()
                await store.commit(Batch(token, [Put(key, body(token), Require.ANY)]))
                for reader in (store, other, apart):
                    found = await read(reader, key)
                    assert found is not None
                    assert found.body == body(token), f"{key} is read as it was before an acknowledged commit"
                    assert found in (await reader.scan(key.kind, "g")).documents

    @case
    async def test_what_was_acknowledged_is_there_after_reopening(self) -> None:
        store = self.open()
        if not store.capabilities.shared:
            return
        keys = [Key(HEAD, "g", "a"), entry("a", 1), Key(CURSOR, "g", "c"), Key(COMMAND, "g", "k")]
        await put(store, *keys)
        before, node, fed = (await store.get(keys)).documents, store.node, await feed_all(store)
        await store.aclose()
        again = self.open()
        assert (await again.get(keys)).documents == before
        assert again.node == node, "the same data under another node"
        assert await feed_all(again) == fed
        await committed(again, *(Check(key, before[key].revision) for key in keys))
        key = keys[0]
        assert (await put(again, key)).revisions[key] != before[key].revision

    @case
    async def test_a_closed_store_refuses_every_call(self) -> None:
        store = self.open()
        key = Key(CURSOR, "g", "c")
        await put(store, key)
        await store.aclose()
        await store.aclose()
        with raises(StoreClosedError):
            await store.get([key])
        with raises(StoreClosedError):
            await store.scan(CURSOR, "g")
        with raises(StoreClosedError):
            await store.owners()
        with raises(StoreClosedError):
            await store.feed(0)
        with raises(StoreClosedError):
            await commit(store, Delete(key, Require.ANY))

    @case
    async def test_closing_one_store_leaves_another_open(self) -> None:
        first, second = self.open(), self.open()
        if first is second:
            return
        key = Key(CURSOR, "g", "c")
        await put(first, key)
        await first.aclose()
        await put(second, key)
        assert await read(second, key) is not None

    @case
    async def test_it_is_a_context(self) -> None:
        if self.world.name == "sync":
            with self.open() as store:
                await put(store, Key(CURSOR, "g", "c"))
        else:
            async with self.open() as store:
                await put(store, Key(CURSOR, "g", "c"))
        with raises(StoreClosedError):
            await store.get([Key(CURSOR, "g", "c")])

    @case
    async def test_its_description_is_usable(self) -> None:
        store = self.open()
        assert "://" in store.url
        assert 1 <= len(store.node) <= 32
        assert store.node.isascii()
        assert store.node.replace("-", "").replace("_", "").isalnum()
        assert store.capabilities.feed_order in ("store", "stream")
        assert store.capabilities.durability in ("power-loss", "process-crash", "none")
