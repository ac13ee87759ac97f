"""The port's promises about sizes: what the capabilities allow fits, one byte more is refused before it is sent."""

from __future__ import annotations

from eventstate.core.documents import CURSOR, ENTRY, HEAD
from eventstate.errors import DocumentTooLargeError, InvalidInputError
from eventstate.testing.conformance.suite import Key, Put, Require, Suite, case, commit, committed, exists, raises, read


class LimitCases(Suite):
    """Bodies, batches and their limits."""

    @case
    async def test_a_body_at_the_limit_fits_and_one_byte_more_does_not(self) -> None:
        store = self.open()
        limit = store.capabilities.max_body_bytes
        for kind in (HEAD, ENTRY, CURSOR):
            key = Key(kind, "g", "big")
            await committed(store, Put(key, b"x" * limit, Require.ABSENT))
            found = await read(store, key)
            assert found is not None
            assert len(found.body) == limit
            over, beside = Key(kind, "g", "bigger"), Key(CURSOR, "g", f"beside {kind}")
            with raises(DocumentTooLargeError) as caught:
                await commit(store, Put(beside, b"x", Require.ANY), Put(over, b"x" * (limit + 1), Require.ANY))
            assert (caught.error.size, caught.error.limit) == (limit + 1, limit), "the error names other sizes"
            assert not await exists(store, over)
            assert not await exists(store, beside), "the batch was applied in part"

    @case
    async def test_a_batch_at_the_limit_fits_and_one_byte_more_does_not(self) -> None:
        store = self.open()
        limit = store.capabilities.max_batch_bytes
        share = store.capabilities.max_body_bytes
        sizes = [share] * (limit // share) + [limit % share]
        keys = [Key(CURSOR, "g", f"part {number}") for number in range(len(sizes))]
        operations = [Put(key, b"x" * size, Require.ANY) for key, size in zip(keys, sizes, strict=True)]
        over = [*operations[:-1], Put(keys[-1], b"x" * (sizes[-1] + 1), Require.ANY)]
        with raises(DocumentTooLargeError) as caught:
            await commit(store, *over)
        assert (caught.error.size, caught.error.limit) == (limit + 1, limit), "the error names other sizes"
        assert not (await store.get(keys)).documents, "the batch was applied in part"
        await committed(store, *operations)

    @case
    async def test_a_batch_of_many_operations(self) -> None:
        store = self.open()
        limit = store.capabilities.max_batch_operations
        puts = [Put(Key(CURSOR, "g", f"c{number}"), b"x", Require.ANY) for number in range(limit + 1)]
        with raises(InvalidInputError):
            await commit(store, *puts)
        await committed(store, *puts[:limit])
        with raises(InvalidInputError):
            await commit(store)

    @case
    async def test_ids_as_long_as_the_library_allows(self) -> None:
        store = self.open()
        for text in ("x" * 1400, "ä" * 700, "." * 466):
            for kind in (HEAD, ENTRY, CURSOR):
                key = Key(kind, text[:500], text, 10**12 - 1 if kind == ENTRY else 0)
                await committed(store, Put(key, b"x", Require.ABSENT))
                page = await store.scan(kind, text[:500], id=text)
                assert [document.key for document in page.documents] == [key]
