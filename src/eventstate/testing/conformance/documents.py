"""The port's promises about single documents and batches: round trips, preconditions, atomicity, revisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from eventstate.core.documents import CURSOR, ENTRY, HEAD, KINDS, NUMBERED, SNAPSHOT, Operation, Precondition
from eventstate.errors import InvalidInputError
from eventstate.stores.base import Store
from eventstate.testing.conformance.suite import (
    Batch,
    Check,
    Committed,
    Delete,
    Key,
    Put,
    Refused,
    Require,
    Suite,
    body,
    case,
    commit,
    committed,
    exists,
    put,
    raises,
    read,
    refused,
    remove,
    unique,
)

SHAPES: Final = (HEAD, ENTRY, SNAPSHOT, CURSOR)
"""One kind of each sort that a backend may keep apart: heads, entries, other numbered ones, other plain ones."""

NEVER: Final = "no revision of any document"
BODIES: Final[Mapping[str, bytes]] = {
    "JSON": b'{"t":"x","a":[1,2.5,null,true],"b":{"c":"d"}}',
    "text outside ASCII": '{"t":"x","text":"naïve 日本 \U0001f600"}'.encode(),
    "escapes and NUL": b'{"t":"x","text":"\\u0000\\n\\""}\x00',
    "no text at all": bytes(range(256)),
    "one byte": b"x",
    "spaces": b"  \n\t ",
}


def key_of(kind: str, id: str = "a", n: int = 7, owner: str = "g") -> Key:
    """A key of any kind."""
    return Key(kind, owner, id, n if kind in NUMBERED else 0)


class DocumentCases(Suite):
    """Documents one by one and in batches."""

    @case
    async def test_bytes_come_back_as_they_were_written(self) -> None:
        store = self.open()
        for kind in sorted(KINDS):
            for name, written in BODIES.items():
                key = key_of(kind, id=name)
                result = await committed(store, Put(key, written, Require.ABSENT))
                found = await read(store, key)
                assert found is not None, f"{key} is absent"
                assert (found.key, found.body) == (key, written), f"{key}: {name}"
                assert found.revision == result.revisions[key], f"{key}: another revision than the commit gave"

    @case
    async def test_a_get_leaves_out_what_is_absent(self) -> None:
        store = self.open()
        there = [key_of(kind) for kind in SHAPES]
        await put(store, *there)
        for kind in SHAPES:
            absent = [key_of(kind, id="b"), key_of(kind, owner="h"), key_of(kind, id="A")]
            if kind in NUMBERED:
                absent.append(key_of(kind, n=8))
            found = await store.get([*absent, *there])
            assert set(found.documents) == set(there)
        assert (await store.get([])).documents == {}
        assert set((await store.get([there[0], there[0]])).documents) == {there[0]}

    @case
    async def test_a_get_takes_many_keys(self) -> None:
        store = self.open()
        keys = [key_of(CURSOR, id=f"c{number}") for number in range(450)]
        await put(store, *keys[::2])
        found = await store.get(keys)
        assert set(found.documents) == set(keys[::2])

    @case
    async def test_every_precondition_with_every_operation(self) -> None:
        """A batch of one operation is accepted exactly where its precondition holds, and then does what it says."""
        store = self.open()
        for kind in SHAPES:
            for present in (False, True):
                for number, verb in enumerate((Put, Delete, Check)):
                    for when in ("absent", "exists", "current", "stale", "never", "any"):
                        if kind == ENTRY and verb is Put and present and when in ("exists", "current", "any"):
                            continue  # an entry is written once
                        key = key_of(kind, id=f"{kind} {present} {number} {when}")
                        await self._one_operation(store, key, present, verb, when)

    async def _one_operation(self, store: Store, key: Key, present: bool, verb: type[Operation], when: str) -> None:
        stale = (await put(store, key)).revisions[key]
        await remove(store, key)
        current = (await put(store, key, text="old")).revisions[key] if present else None
        before = await read(store, key)
        conditions: dict[str, tuple[Precondition, bool]] = {
            "absent": (Require.ABSENT, not present),
            "exists": (Require.EXISTS, present),
            "current": (current or stale, present),
            "stale": (stale, False),
            "never": (NEVER, False),
            "any": (Require.ANY, True),
        }
        condition, holds = conditions[when]
        token = unique()
        new = body(token, "new")
        operation = Put(key, new, condition) if verb is Put else verb(key, condition)  # pyright: ignore[reportCallIssue]
        result = await store.commit(Batch(token, [operation]))
        after = await read(store, key)
        said = f"{verb.__name__} when {when} on {'a present' if present else 'an absent'} {key.kind}: {result}"
        if not holds:
            assert isinstance(result, Refused), said
            assert result.keys is None or result.keys == {key}, said
            assert after == before, said
            return
        assert isinstance(result, Committed), said
        if verb is Put:
            assert after is not None, said
            assert after.body == new, said
            assert dict(result.revisions) == {key: after.revision}, said
        else:
            assert after == (None if verb is Delete else before), said
            assert dict(result.revisions) == {}, said

    @case
    async def test_a_refused_batch_writes_nothing(self) -> None:
        """Wherever in the batch the operation stands whose precondition fails."""
        store = self.open()
        for position in range(4):
            owner = f"refused {position}"
            old, doomed, checked, new = (key_of(kind, owner=owner) for kind in (HEAD, SNAPSHOT, CURSOR, ENTRY))
            await put(store, old, doomed, checked, text="before")
            before = (await store.get([old, doomed, checked, new])).documents
            good = _mixed(old, doomed, checked, new)
            fails: list[Operation] = [
                good[0]._replace(when=NEVER),
                good[1]._replace(when=Require.ABSENT),
                good[2]._replace(when=Require.ABSENT),
                good[3]._replace(when=Require.EXISTS),
            ]
            operations = [*good[:position], fails[position], *good[position + 1 :]]
            result = await refused(store, *operations)
            assert result.keys is None or result.keys == {fails[position].key}, result
            assert (await store.get([old, doomed, checked, new])).documents == before
            assert not (await store.scan(ENTRY, owner)).documents, "a refused entry shows in a scan"
            assert not [d for _, d in (await store.feed(0)).entries if d.key.owner == owner], "and in the feed"

    @case
    async def test_all_keys_that_failed_are_named_or_none(self) -> None:
        store = self.open()
        first, second, third = (key_of(CURSOR, id=name) for name in "abc")
        await put(store, first)
        result = await refused(
            store, Check(first, Require.ABSENT), Check(second, Require.EXISTS), Check(third, Require.ABSENT)
        )
        assert result.keys is None or result.keys == {first, second}, result.keys

    @case
    async def test_an_accepted_batch_writes_everything(self) -> None:
        store = self.open()
        old, doomed, checked, new = (key_of(kind) for kind in (HEAD, SNAPSHOT, CURSOR, ENTRY))
        await put(store, old, doomed, checked, text="before")
        before = (await store.get([checked])).documents
        result = await committed(store, *_mixed(old, doomed, checked, new))
        after = (await store.get([old, doomed, checked, new])).documents
        assert set(after) == {old, checked, new}
        assert after[checked] == before[checked]
        assert dict(result.revisions) == {old: after[old].revision, new: after[new].revision}
        assert after[old].written_at == after[new].written_at == result.at

    @case
    async def test_a_precondition_is_judged_against_the_store_not_the_batch(self) -> None:
        """One operation's effect is not another's precondition: all are judged before the first write."""
        store = self.open()
        head, entry = key_of(HEAD), key_of(ENTRY)
        await refused(store, Put(entry, b"{}", Require.ABSENT), Check(head, Require.EXISTS))
        await committed(store, Put(entry, b"{}", Require.ABSENT), Put(head, b"{}", Require.ABSENT))

    @case
    async def test_two_operations_on_one_key_are_refused_as_input(self) -> None:
        store = self.open()
        key, other = key_of(HEAD), key_of(CURSOR)
        kinds: list[Operation] = [Put(key, b"x", Require.ANY), Delete(key, Require.ANY), Check(key, Require.ANY)]
        for first in kinds:
            for second in kinds:
                with raises(InvalidInputError):
                    await commit(store, Put(other, b"x", Require.ANY), first, second)
        assert not (await store.get([key, other])).documents, "a batch refused as input was applied in part"

    @case
    async def test_a_batch_sent_again_is_refused_by_its_own_effect(self) -> None:
        store = self.open()
        token = unique()
        batch = Batch(
            token, [Put(key_of(ENTRY), body(token), Require.ABSENT), Put(key_of(HEAD), body(token), Require.ABSENT)]
        )
        assert isinstance(await store.commit(batch), Committed)
        before = (await store.get([key_of(ENTRY), key_of(HEAD)])).documents
        assert isinstance(await store.commit(batch), Refused)
        assert (await store.get([key_of(ENTRY), key_of(HEAD)])).documents == before

    # Checks

    @case
    async def test_a_check_for_absence_leaves_no_ghost(self) -> None:
        store = self.open()
        for kind in SHAPES:
            key = key_of(kind)
            await committed(store, Check(key, Require.ABSENT), Put(key_of(CURSOR, id="other"), b"x", Require.ANY))
            await committed(store, Check(key, Require.ABSENT))
            assert not await exists(store, key), f"checking that {key} is absent made it"
            assert not [d for d in (await store.scan(kind, "g")).documents if d.key.id == "a"]
            await refused(store, Check(key, Require.EXISTS))
            await committed(store, Put(key, b"x", Require.ABSENT))

    @case
    async def test_a_check_changes_nothing_of_its_document(self) -> None:
        store = self.open()
        for kind in SHAPES:
            key = key_of(kind)
            await put(store, key)
            before = await read(store, key)
            assert before is not None
            for when in (Require.EXISTS, before.revision, Require.ANY):
                await committed(store, Check(key, when), Put(key_of(CURSOR, id="other"), b"x", Require.ANY))
                await committed(store, Check(key, when))
                assert await read(store, key) == before, f"a check with {when} changed {key}"

    # Revisions

    @case
    async def test_a_revision_never_comes_again(self) -> None:
        """Not for the same bytes, not after a deletion, not after writing what was there before."""
        store = self.open()
        for kind in SHAPES:
            key = key_of(kind)
            same = b'{"t":"always the same bytes"}'
            seen: list[str] = []
            for _ in range(4):
                seen.append((await committed(store, Put(key, same, Require.ABSENT))).revisions[key])
                await remove(store, key)
            if kind != ENTRY:  # which is written once
                seen += [(await put(store, key, text=text)).revisions[key] for text in ("one", "two", "one", "two")]
            assert len(set(seen)) == len(seen), f"revisions of a {kind} came again: {seen}"

    @case
    async def test_every_write_takes_a_new_revision(self) -> None:
        store = self.open()
        for kind in (HEAD, SNAPSHOT, CURSOR):
            key = key_of(kind)
            first = (await put(store, key)).revisions[key]
            second = (await put(store, key)).revisions[key]
            await refused(store, Put(key, b"x", first))
            await committed(store, Put(key, b"x", second))

    @case
    async def test_a_document_of_any_kind_is_replaced(self) -> None:
        store = self.open()
        for kind in SHAPES:
            key = key_of(kind)
            first = await put(store, key, text="a")
            second = await put(store, key, text="b")
            third = await committed(store, Put(key, body("x", "c"), second.revisions[key]))
            assert len({result.revisions[key] for result in (first, second, third)}) == 3
            found = await read(store, key)
            assert found is not None
            assert (found.body, found.revision) == (body("x", "c"), third.revisions[key])
        entries = [document.key for _, document in (await store.feed(0)).entries]
        assert entries == [key_of(ENTRY)]

    @case
    async def test_revisions_of_one_batch_belong_to_their_keys(self) -> None:
        store = self.open()
        keys = [key_of(kind) for kind in SHAPES]
        revisions = (await put(store, *keys)).revisions
        await committed(store, *(Check(key, revisions[key]) for key in keys))

    @case
    async def test_removing_what_is_absent_does_nothing(self) -> None:
        store = self.open()
        for kind in SHAPES:
            result = await committed(store, Delete(key_of(kind), Require.ANY))
            assert not result.revisions
            assert not await exists(store, key_of(kind))


def _mixed(old: Key, doomed: Key, checked: Key, new: Key) -> list[Operation]:
    return [
        Put(old, b'{"t":"after"}', Require.EXISTS),
        Delete(doomed, Require.EXISTS),
        Check(checked, Require.EXISTS),
        Put(new, b'{"t":"after"}', Require.ABSENT),
    ]
