"""The port's promises about scans and lists of owners, checked against a plain sorted list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from eventstate.core.documents import CURSOR, ENTRY, HEAD, SNAPSHOT
from eventstate.stores.base import PAGE_BYTES, Store
from eventstate.testing.conformance.documents import key_of
from eventstate.testing.conformance.suite import Key, Put, Require, Suite, case, committed, put, remove

ODD_IDS: Final = (
    *("a", "a-1", "a:1", "a/1", "a.1", "a 1", "a!1", "a%1", "a~1", "a1", "aa", "A", "ab", "a-1-x", "b"),
    *("/", "//", "/a", ":", "::", ".", "..", "...", ".2E", "-", "_", "__", "__x__", "__x__!", "___", "_a_"),
    *("%", "%25", "%2F", "%2", "!", "!!", " ", "  ", "~", "'", '"', "\\", "*", "[0]", "`", "{}", "$x", "#", "+"),
    *(
        "ä",
        "a\u0308",
        "é",
        "日本",
        "\ud7ff",
        "\ue000",
        "\uffee",
        "\U00010000",
        "\U0001f600",
        "\U0001f600a",
        "\U0010fffd",
    ),
    *("0", "00", "1", "10", "2", "000000000001", "a!000000000001", "a:000000000001", "nul", "CON", "x" * 600),
)
"""Ids that some encoding gets wrong: separators, escapes, reserved names, what sorts differently in UTF-16."""

NUMBERS: Final = (0, 1, 2, 9, 10, 11, 99, 100, 10**12 - 1)


def expected_page(keys: Sequence[Key], *, id: str | None, prefix: str, after: Key | None) -> list[Key]:
    """What a scan of keys of one kind and owner must give, in order."""
    return sorted(
        (
            key
            for key in keys
            if (id is None or key.id == id)
            and key.id.startswith(prefix)
            and (after is None or _place(key) > _place(after))
        ),
        key=_place,
    )


def _place(key: Key) -> tuple[bytes, int]:
    return key.id.encode(), key.n


async def scan_all(
    store: Store,
    kind: str,
    owner: str,
    *,
    id: str | None = None,
    prefix: str = "",
    after: Key | None = None,
    limit: int = 1000,
) -> list[Key]:
    """The keys of all pages, each page checked for its size."""
    keys: list[Key] = []
    while True:
        page = await store.scan(kind, owner, id=id, prefix=prefix, after=after, limit=limit)
        assert len(page.documents) <= limit, f"a page of {len(page.documents)} with limit={limit}"
        keys.extend(document.key for document in page.documents)
        if page.next is None:
            return keys
        assert page.documents, "an empty page that says more follows"
        after = page.next


async def owners_all(store: Store, *, limit: int = 1000) -> list[str]:
    """The owners of all pages."""
    found: list[str] = []
    while True:
        page = await store.owners(after=found[-1] if found else "", limit=limit)
        assert len(page) <= limit
        if not page:
            return found
        found.extend(page)


class ScanCases(Suite):
    """Scans in order, in pages, by id and by prefix."""

    async def _filled(self, store: Store, kind: str, ids: Sequence[str] = ODD_IDS) -> list[Key]:
        keys = [key_of(kind, id=id, n=3) for id in ids]
        for start in range(0, len(keys), 25):
            await put(store, *reversed(keys[start : start + 25]))
        return keys

    async def _compare(
        self, store: Store, keys: Sequence[Key], id: str | None = None, prefix: str = "", after: Key | None = None
    ) -> None:
        found = await scan_all(store, keys[0].kind, keys[0].owner, id=id, prefix=prefix, after=after)
        wanted = expected_page(keys, id=id, prefix=prefix, after=after)
        assert found == wanted, f"scan {keys[0].kind} id={id!r} prefix={prefix!r} after={after}"

    @case
    async def test_ids_come_in_the_order_of_their_utf8_bytes(self) -> None:
        store = self.open()
        for kind in (HEAD, ENTRY, CURSOR, SNAPSHOT):
            await self._compare(store, await self._filled(store, kind))

    @case
    async def test_numbers_come_in_numeric_order(self) -> None:
        store = self.open()
        for kind in (ENTRY, SNAPSHOT):
            keys = [key_of(kind, id=id, n=n) for id in ("a", "a-1", "a:1", "a!", "b") for n in NUMBERS]
            await put(store, *reversed(keys))
            await self._compare(store, keys)
            for id in ("a", "a-1", "a:1", "a!", "b"):
                await self._compare(store, keys, id=id)
                for n in (0, 1, 3, 10, 10**12 - 1):
                    await self._compare(store, keys, id=id, after=key_of(kind, id=id, n=n))
                    await self._compare(store, keys, after=key_of(kind, id=id, n=n))

    @case
    async def test_one_id_is_that_id_alone(self) -> None:
        store = self.open()
        for kind in (HEAD, ENTRY):
            keys = await self._filled(store, kind)
            for id in ODD_IDS:
                await self._compare(store, keys, id=id)
            for id in ("nobody", "a-", "a:", "x" * 599):
                await self._compare(store, keys, id=id)

    @case
    async def test_a_prefix_is_text_not_a_pattern(self) -> None:
        store = self.open()
        for kind in (HEAD, ENTRY, CURSOR):
            keys = await self._filled(store, kind)
            for prefix in (*(id[:1] for id in ODD_IDS), "a-", "a:", "a/", "__", "%2", "\U0001f600a", "xxx", "nobody"):
                await self._compare(store, keys, prefix=prefix)

    @case
    async def test_after_is_exclusive_and_need_not_exist(self) -> None:
        store = self.open()
        for kind in (HEAD, CURSOR):
            keys = await self._filled(store, kind, ODD_IDS[::2])
            for id in ODD_IDS:
                await self._compare(store, keys, after=key_of(kind, id=id))
                await self._compare(store, keys, prefix="a", after=key_of(kind, id=id))

    @case
    async def test_every_page_size_gives_the_whole_list(self) -> None:
        store = self.open()
        for kind in (HEAD, ENTRY, CURSOR):
            keys = [key_of(kind, id=id, n=n) for id in ("a", "a-1", "a:1", "ä") for n in (1, 2)]
            keys = list(dict.fromkeys(keys))
            await put(store, *keys)
            for limit in range(1, len(keys) + 2):
                assert await scan_all(store, kind, "g", limit=limit) == expected_page(
                    keys, id=None, prefix="", after=None
                )
                found = await scan_all(store, kind, "g", prefix="a", limit=limit)
                assert found == expected_page(keys, id=None, prefix="a", after=None)
                assert await scan_all(store, kind, "g", id="a", limit=limit) == [k for k in keys if k.id == "a"]

    @case
    async def test_a_page_that_grows_large_ends_early_and_is_gone_on_from(self) -> None:
        store = self.open()
        size = store.capabilities.max_body_bytes
        count = PAGE_BYTES // size + 3
        for kind in (ENTRY, CURSOR):
            keys = [key_of(kind, id=f"big {number}") for number in range(count)]
            for key in keys:
                await committed(store, Put(key, b"x" * size, Require.ANY))
            page = await store.scan(kind, "g")
            assert page.next is not None, "one page holds more than it may"
            assert sum(len(document.body) for document in page.documents[:-1]) < PAGE_BYTES
            assert await scan_all(store, kind, "g") == keys

    @case
    async def test_a_scan_keeps_to_its_kind_and_owner(self) -> None:
        store = self.open()
        wanted = [key_of(kind, owner=owner) for kind in (HEAD, ENTRY, CURSOR, SNAPSHOT) for owner in _OWNERS]
        await put(store, *wanted)
        for key in wanted:
            assert await scan_all(store, key.kind, key.owner) == [key]
            assert await scan_all(store, key.kind, key.owner + "x") == []

    @case
    async def test_a_scan_sees_bodies_and_revisions_as_a_get_does(self) -> None:
        store = self.open()
        for kind in (HEAD, ENTRY, CURSOR):
            keys = await self._filled(store, kind, ODD_IDS[:9])
            page = await store.scan(kind, "g")
            assert {document.key: document for document in page.documents} == (await store.get(keys)).documents

    @case
    async def test_what_is_deleted_is_gone_from_scans(self) -> None:
        store = self.open()
        for kind in (HEAD, ENTRY, CURSOR):
            keys = await self._filled(store, kind, ODD_IDS[:9])
            await remove(store, *keys[::2])
            await self._compare(store, keys[1::2])

    # Owners

    @case
    async def test_owners_are_the_governors_that_have_documents(self) -> None:
        store = self.open()
        assert await owners_all(store) == []
        kinds = (HEAD, ENTRY, CURSOR, SNAPSHOT)
        keys = [key_of(kinds[index % 4], owner=owner) for index, owner in enumerate(_OWNERS)]
        await put(store, *keys)
        wanted = sorted(_OWNERS, key=_utf8)
        for limit in (1, 2, 3, 1000):
            assert await owners_all(store, limit=limit) == wanted, f"with limit={limit}"
        for after in (*_OWNERS, "nobody", "zz"):
            found = list(await store.owners(after=after))
            assert found == [owner for owner in wanted if _utf8(owner) > _utf8(after)], f"after={after!r}"

    @case
    async def test_an_owner_whose_documents_are_gone_is_no_owner(self) -> None:
        store = self.open()
        stays = key_of(CURSOR, owner="stays")
        for kind in (CURSOR, SNAPSHOT, HEAD, ENTRY):
            gone = key_of(kind, owner=f"gone {kind}")
            await put(store, stays, gone)
            assert await owners_all(store) == [gone.owner, "stays"]
            await remove(store, gone)
            assert await owners_all(store) == ["stays"], f"after its {kind} was deleted"


_OWNERS: Final = (
    *("g", "g-1", "g:1", "g/1", "G", "..", "__x__", "%25", "ä", "\ue000", "\U0001f600", " "),
    *("jobs", "jobs/", "jobs/a", "jobs/a/b", "jobs/__x__", "jobs0", "jobs.", "job"),
)
_utf8: Callable[[str], bytes] = str.encode
