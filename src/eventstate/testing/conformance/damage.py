"""What a persister promises when stored bytes are not what was written: they are passed over, told, never trusted."""

from __future__ import annotations

from typing import Any

from eventstate.core.chain import genesis, seal, unseal
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Key
from eventstate.core.expected import ANY
from eventstate.core.format import decode_snapshot, encode_snapshot, unborn
from eventstate.errors import (
    CorruptionError,
    EventStateError,
    StateDeletedError,
    StateNotFoundError,
    VersionConflictError,
)
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import (
    GOVERNOR,
    TALLIES,
    Added,
    Doubled,
    Face,
    PersisterSuite,
    alter,
    entry_key,
    everything,
    head_key,
    replace,
    snapshot_key,
    stored,
    tally_of,
)
from eventstate.testing.conformance.rebuilding import filled
from eventstate.testing.conformance.suite import Put, Require, case, committed, raises, remove, unique
from eventstate.testing.faults import FaultyStore

HEAD_1 = head_key("tally-1")
LAST = 15
"""Version of the tally that `filled` makes."""


def flipped(body: bytes, position: int) -> bytes:
    """The bytes with one bit changed."""
    position %= len(body)
    return body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]


class DamageCases(PersisterSuite):
    """Single faults in what is stored."""

    async def _filled(self, store: Store, every: int = 4) -> list[Added | Doubled]:
        return await filled(self.persister(store, snapshot_every=every, keep_snapshots=9))

    async def _right_at_every_version(self, persister: Face, events: list[Added | Doubled]) -> None:
        assert (await persister.load(TALLIES, "1")).data == tally_of(events)
        for version in range(1, len(events) + 1):
            state = await persister.load(TALLIES, "1", at_version=version)
            assert state.data == tally_of(events[:version]), f"at version {version}"

    async def _findings(self, store: Store) -> list[str]:
        report = await self.persister(store).validate_consistency()
        return [finding.where for finding in report.findings]

    def _quick(self, store: Store) -> Store:
        """The same store for those who would wait between attempts."""
        return FaultyStore(store, runtime=self.world.steered())

    # Heads

    @case
    async def test_a_bad_head_is_passed_over(self) -> None:
        store = self.open()
        events = await self._filled(store)
        good = (await stored(store, HEAD_1)).body
        bad_ones = [b"", b"{}", good[:-9], b"{" + good, *(flipped(good, position) for position in (0, 10, 60, 70, -20))]
        for bad in bad_ones:
            await replace(store, HEAD_1, bad or b"x")
            loaded = await self.persister(store).load(TALLIES, "1")
            assert (loaded.data, loaded.version, loaded.recovered) == (tally_of(events), LAST, True)
            assert (loaded.action, loaded.metadata.changed_by) == ("Added", "kim")
            await self._right_at_every_version(self.persister(store), events)
            assert len(await self.persister(store).history(TALLIES, "1")) == LAST
            assert await self.persister(store).exists(TALLIES, "1")
            listed = (await self.persister(store).list_states()).states
            assert [state.data for state in listed] == [tally_of(events)]
            assert await self._findings(store) == [str(HEAD_1)]

    @case
    async def test_a_head_with_other_content_is_passed_over(self) -> None:
        """Edits that leave it JSON of the right shape: another total, another version, an empty state."""
        store = self.open()
        events = await self._filled(store)
        good = (await stored(store, HEAD_1)).body
        total = str(tally_of(events).total).encode()
        for old, new in ((b'"total":' + total, b'"total":7'), (b'"n":15', b'"n":14'), (b'"n":15', b'"n": 15')):
            assert old in good
            await replace(store, HEAD_1, good.replace(old, new))
            await self._right_at_every_version(self.persister(store), events)
            assert await self._findings(store) == [str(HEAD_1)], f"{new!r} for {old!r} is not found"

    @case
    async def test_recovery_writes_a_bad_head_anew(self) -> None:
        store = self.open()
        events = await self._filled(store)
        await alter(store, HEAD_1, b'"n":15', b'"n":16')
        (found,) = await self.persister(store).recover()
        assert (found.id, found.version, found.data, found.status) == ("tally-1", LAST, tally_of(events), "rebuilt")
        assert found.problem
        await self.consistent(self.persister(store))
        assert not (await self.persister(store).load(TALLIES, "1")).recovered

    @case
    async def test_an_append_mends_a_bad_head(self) -> None:
        store = self.open()
        for id, expected in (("1", LAST), ("2", ANY)):
            events = await filled(self.persister(store), id)
            await alter(store, head_key(f"tally-{id}"), b'"n":15', b'"n":3')
            with raises(VersionConflictError) as caught:
                await self.persister(store).append(TALLIES, id, Added("x"), expected=3)
            assert caught.error.actual == LAST
            mended = await self.persister(store).load(TALLIES, id)
            assert (mended.data, mended.action, mended.metadata.changed_by) == (tally_of(events), "Added", "kim")
            written = await self.persister(store).append(TALLIES, id, Added("x"), expected=expected)
            assert (written.version, written.data) == (LAST + 1, tally_of([*events, Added("x")]))
        await self.consistent(self.persister(store))

    @case
    async def test_a_missing_head_is_not_an_absent_state(self) -> None:
        """Entries without a head are damage: nothing begins anew there."""
        store = self.open()
        events = await self._filled(store)
        await remove(store, HEAD_1)
        with raises(VersionConflictError) as caught:
            await self.persister(self._quick(store)).append(TALLIES, "1", Added("x"), expected=0)
        assert caught.error.actual == LAST
        for damaged in (False, True):
            if damaged:
                await remove(store, HEAD_1)
                assert str(HEAD_1) in await self._findings(store)
            reader = self.persister(store)
            assert (await reader.load(TALLIES, "1")).data == tally_of(events)
            assert await reader.exists(TALLIES, "1")
            await self._right_at_every_version(reader, events)
        written = await self.persister(store).append(TALLIES, "1", Added("x"), expected=ANY)
        assert written.data == tally_of([*events, Added("x")])
        await self.consistent(self.persister(store))

    @case
    async def test_a_bad_head_of_a_deleted_state_does_not_bring_it_back(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await filled(persister)
        await persister.delete_state(TALLIES, "1", expected=LAST)
        for mended_by in ("append", "recover", "rebuild"):
            await replace(store, HEAD_1, flipped((await stored(store, HEAD_1)).body, 70))
            assert (await self.persister(store).list_states()).states == []
            assert not await self.persister(store).exists(TALLIES, "1")
            with raises(StateDeletedError):
                await self.persister(store).load(TALLIES, "1")
            if mended_by == "recover":
                (found,) = await self.persister(store).recover()
                assert (found.status, found.version) == ("deleted", LAST + 1)
            else:
                arguments = (Added("x"),) if mended_by == "append" else ()
                options = {"expected": ANY} if mended_by == "append" else {}
                with raises(StateDeletedError):
                    await getattr(self.persister(store), mended_by)(TALLIES, "1", *arguments, **options)
            assert await self._findings(store) == [], f"after {mended_by}"
            with raises(StateDeletedError):
                await self.persister(store).append(TALLIES, "1", Added("x"), expected=ANY)

    @case
    async def test_a_head_in_the_place_of_another_is_passed_over(self) -> None:
        store = self.open()
        events = await self._filled(store)
        await self.persister(store).append(TALLIES, "2", Added("two"), expected=0)
        other = (await stored(store, head_key("tally-2"))).body
        await replace(store, HEAD_1, other)
        assert (await self.persister(store).load(TALLIES, "1")).data == tally_of(events)
        assert await self._findings(store) == [str(HEAD_1)]

    @case
    async def test_an_old_head_put_back_is_found(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await persister.append(TALLIES, "1", Added("a"), expected=0)
        old = (await stored(store, HEAD_1)).body
        await persister.append(TALLIES, "1", Added("b"), expected=1)
        await replace(store, HEAD_1, old)
        assert await self._findings(store) == [str(HEAD_1)]
        before = await everything(store)
        quick = self._quick(store)
        for expected in (1, ANY):
            with raises(EventStateError):
                await self.persister(quick).append(TALLIES, "1", Added("x"), expected=expected)
        entries = [key for key in await everything(store) if key.kind == ENTRY]
        assert entries == [key for key in before if key.kind == ENTRY], "an append on a wrong tip was accepted"

    # Snapshots

    @case
    async def test_a_bad_snapshot_is_passed_over(self) -> None:
        """Never replaced by an empty state, never followed by the events after it alone."""
        store = self.open()
        events = await self._filled(store)
        snapshots = (await store.scan(SNAPSHOT, GOVERNOR, id="tally-1")).documents
        assert len(snapshots) > 1
        for document in snapshots:
            for bad in (b"{}", document.body[:-5], flipped(document.body, 60), flipped(document.body, -20)):
                await replace(store, document.key, bad)
                await self._right_at_every_version(self.persister(store), events)
                assert (await self.persister(store).rebuild(TALLIES, "1")).data == tally_of(events)
                assert await self._findings(store) == [str(document.key)]
            await replace(store, document.key, document.body)
        await self.consistent(self.persister(store))

    @case
    async def test_a_snapshot_of_another_history_is_passed_over(self) -> None:
        """Sealed properly, but of a chain that this stream never had, as after a restore of an older copy."""
        store = self.open()
        events = await self._filled(store)
        version = (await store.scan(SNAPSHOT, GOVERNOR, id="tally-1")).documents[0].key.n
        key = snapshot_key("tally-1", version)
        snapshot, _ = decode_snapshot(await stored(store, key))
        forged = snapshot.image._replace(state=b'{"total":0,"marks":[]}')
        tip = unborn(GOVERNOR, "tally-1")
        for digest in (genesis(GOVERNOR, "tally-1"), genesis(GOVERNOR, "tally-2")):
            there = tip._replace(version=version, digest=digest)
            body = encode_snapshot(there, forged, token=unique())
            await replace(store, key, body)
            await self._right_at_every_version(self.persister(store), events)
            assert await self._findings(store) == [str(key)]

    @case
    async def test_a_snapshot_in_the_place_of_another_is_passed_over(self) -> None:
        store = self.open()
        events = await self._filled(store)
        snapshots = (await store.scan(SNAPSHOT, GOVERNOR, id="tally-1")).documents
        await replace(store, snapshots[-1].key, snapshots[0].body)
        await self._right_at_every_version(self.persister(store), events)
        assert await self._findings(store) == [str(snapshots[-1].key)]

    @case
    async def test_a_head_and_its_snapshots_all_bad_leave_the_events(self) -> None:
        store = self.open()
        events = await self._filled(store)
        for document in (await store.scan(SNAPSHOT, GOVERNOR, id="tally-1")).documents:
            await replace(store, document.key, flipped(document.body, 66))
        await replace(store, HEAD_1, flipped((await stored(store, HEAD_1)).body, 66))
        await self._right_at_every_version(self.persister(store), events)
        (found,) = await self.persister(store).recover()
        assert (found.data, found.status) == (tally_of(events), "rebuilt")

    # Entries

    @case
    async def test_every_changed_entry_is_named(self) -> None:
        store = self.open()
        await self._filled(store)
        for document in (await store.scan(ENTRY, GOVERNOR, id="tally-1")).documents:
            for bad in (
                flipped(document.body, -5),
                flipped(document.body, 10),
                document.body[:-3],
                document.body + b" ",
            ):
                await replace(store, document.key, bad)
                assert (await self._findings(store))[0] == str(document.key), f"{bad!r} is not found"
            await replace(store, document.key, document.body)
        await self.consistent(self.persister(store))

    @case
    async def test_an_edit_that_means_the_same_is_found(self) -> None:
        """The chain is over bytes: white space, the order of members and numbers written otherwise all show."""
        store = self.open()
        await self._filled(store)
        key = entry_key("tally-1", 1)
        good = (await stored(store, key)).body
        for old, new in (
            (b'"amount":0', b'"amount": 0'),
            (b'"amount":0', b'"amount":0.0'),
            (b'"mark"', b'"mar\\u006b"'),
        ):
            assert old in good, good
            await replace(store, key, good.replace(old, new))
            assert await self._findings(store) == [str(key)], f"{new!r} for {old!r} is not found"

    @case
    async def test_a_missing_or_moved_entry_is_named(self) -> None:
        store = self.open()
        await self._filled(store)
        documents = (await store.scan(ENTRY, GOVERNOR, id="tally-1")).documents
        for index, document in enumerate(documents):
            await remove(store, document.key)
            (where,) = await self._findings(store)
            following = documents[index + 1].key if index + 1 < len(documents) else None
            first_missing = documents[index - 1].key.n + 1 if index else 1
            assert where in (str(following), str(entry_key("tally-1", first_missing))), where
            await replace_absent(store, document.key, document.body)
        first, second = documents[0], documents[1]
        await replace(store, first.key, second.body)
        assert await self._findings(store) == [str(first.key)]

    @case
    async def test_an_entry_sealed_anew_is_found_by_the_next(self) -> None:
        """Whoever edits an entry and computes its digest breaks the chain one further on."""
        store = self.open()
        await self._filled(store)
        key = entry_key("tally-1", 1)
        body = (await stored(store, key)).body
        rest, _ = unseal(genesis(GOVERNOR, "tally-1"), body, str(key))
        forged, _ = seal(genesis(GOVERNOR, "tally-1"), rest.replace(b'"amount":0', b'"amount":9'))
        assert forged != body
        await replace(store, key, forged)
        assert await self._findings(store) == [str(entry_key("tally-1", 4))]

    @case
    async def test_a_bad_entry_is_never_replayed(self) -> None:
        """Where it is needed there is an error; where a snapshot leads past it, or it comes later, there is not."""
        store = self.open()
        events = await self._filled(store, every=0)
        key = entry_key("tally-1", 7)
        await replace(store, key, flipped((await stored(store, key)).body, -20))
        reader = self.persister(store)
        assert (await reader.load(TALLIES, "1")).data == tally_of(events), "the head is good"
        for version in range(1, LAST + 1):
            if version <= 5:
                assert (await reader.load(TALLIES, "1", at_version=version)).data == tally_of(events[:version])
            else:
                with raises(CorruptionError) as caught:
                    await reader.load(TALLIES, "1", at_version=version)
                assert caught.error.where == str(key)
        with raises(CorruptionError):
            await reader.history(TALLIES, "1")
        with raises(CorruptionError):
            await reader.rebuild(TALLIES, "1", full=True)

    @case
    async def test_without_head_and_entry_there_is_an_error_not_an_empty_state(self) -> None:
        store = self.open()
        await self._filled(store, every=0)
        await replace(store, HEAD_1, flipped((await stored(store, HEAD_1)).body, 66))
        key = entry_key("tally-1", 4)
        await replace(store, key, flipped((await stored(store, key)).body, -20))
        before = await everything(store)
        calls: list[tuple[str, dict[str, Any]]] = [
            ("load", {}),
            ("rebuild", {}),
            ("append", {"expected": ANY}),
            ("append", {"expected": LAST}),
        ]
        for name, options in calls:
            arguments = (TALLIES, "1", Added("x")) if name == "append" else (TALLIES, "1")
            with raises(CorruptionError):
                await getattr(self.persister(store), name)(*arguments, **options)
        assert await everything(store) == before
        (found,) = await self.persister(store).recover()
        assert (found.status, found.data) == ("lost", None)
        assert found.problem

    @case
    async def test_a_stream_that_is_written_all_the_time_is_verified(self) -> None:
        """Whether it is good or bad: what others write meanwhile makes no finding, and hides none."""
        store = self.open()
        await self._filled(store)
        for damaged in (False, True):
            if damaged:
                key = entry_key("tally-1", 4)
                await replace(store, key, flipped((await stored(store, key)).body, -20))
            writer = self.persister(store, snapshot_every=1, keep_snapshots=1)
            busy = FaultyStore(store)

            async def write(_keys: object, writer: Face = writer) -> None:
                await writer.append(TALLIES, "1", Added("x"), expected=ANY)

            busy.before_get = write
            wheres = await self._findings(busy)
            assert wheres == ([str(entry_key("tally-1", 4))] if damaged else [])

    @case
    async def test_damage_to_one_stream_is_not_damage_to_another(self) -> None:
        store = self.open()
        await self._filled(store)
        events = await filled(self.persister(store), "2")
        key = entry_key("tally-1", 4)
        await replace(store, key, flipped((await stored(store, key)).body, -20))
        assert (await self.persister(store).load(TALLIES, "2")).data == tally_of(events)
        assert await self._findings(store) == [str(key)]

    @case
    async def test_what_never_was_is_absent(self) -> None:
        store = self.open()
        await self._filled(store)
        for id in ("2", "", "11", "0"):
            with raises(StateNotFoundError, ValueError):
                await self.persister(store).load(TALLIES, id)
        assert not await self.persister(store).exists(TALLIES, "2")
        assert (await store.get([Key(HEAD, GOVERNOR, "tally-2")])).documents == {}


async def replace_absent(store: Store, key: Key, body: bytes) -> None:
    """Put a document back that was taken away."""
    await committed(store, Put(key, body, Require.ABSENT))
