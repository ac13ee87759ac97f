"""What seals promise: whatever is changed, cut off or taken away of what they saw is found."""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from eventstate.core.chain import stored_digest
from eventstate.core.documents import ENTRY, HEAD, SEAL, SNAPSHOT, Delete, Key, Put, Require
from eventstate.core.expected import ANY
from eventstate.core.format import Base, rebased_head
from eventstate.core.retention import RetentionPolicy
from eventstate.core.seals import LISTS, Seal, part_key, seal_key
from eventstate.errors import CorruptionError, InvalidInputError
from eventstate.log.sealing import taking
from eventstate.log.sealing.async_manager import AsyncSealManager
from eventstate.log.sealing.files import SealFile
from eventstate.log.sealing.manager import SealManager
from eventstate.log.verify import ConsistencyReport
from eventstate.machines.async_retention_manager import AsyncRetentionManager
from eventstate.machines.events import Event
from eventstate.machines.retention_manager import RetentionManager
from eventstate.machines.together import AppendTo
from eventstate.stores.base import Store
from eventstate.testing.conformance.damage import flipped
from eventstate.testing.conformance.persisters import (
    GOVERNOR,
    TALLIES,
    Added,
    Face,
    PersisterSuite,
    entry_key,
    head_key,
    replace,
    stored,
)
from eventstate.testing.conformance.rebuilding import filled
from eventstate.testing.conformance.suite import case, committed, raises, unique
from eventstate.testing.faults import Fault, FaultyStore

LAST = 15
"""Version of the tally that `filled` makes."""


async def taken_away(store: Store, id: str, beyond: int = 0) -> None:
    """Remove a stream's entries and snapshots beyond a version, and its head if that is 0."""
    for kind in (ENTRY, SNAPSHOT):
        page = await store.scan(kind, GOVERNOR, id=id, after=Key(kind, GOVERNOR, id, beyond))
        for document in page.documents:
            await committed(store, Delete(document.key, Require.EXISTS))
    if not beyond:
        await committed(store, Delete(Key(HEAD, GOVERNOR, id), Require.EXISTS))


class SealCases(PersisterSuite):
    """Seals of the streams of one governor."""

    def seals(self, store: Store, governor: str = GOVERNOR) -> Any:
        """A seal manager of this world, called as a persister is."""
        manager: Any = SealManager if self.world.name == "sync" else AsyncSealManager
        return Face(manager(store, governor=governor))

    async def _verified(self, store: Store, **options: Any) -> ConsistencyReport:
        return await self.persister(store).validate_consistency(**options)

    async def _wheres(self, store: Store, **options: Any) -> list[str]:
        return [finding.where for finding in (await self._verified(store, **options)).findings]

    async def _parts(self, store: Store) -> list[Key]:
        return [document.key for document in (await store.scan(SEAL, GOVERNOR, prefix=LISTS)).documents]

    # What is as it was

    @case
    async def test_streams_that_went_on_are_as_sealed(self) -> None:
        store = self.open()
        persister = self.persister(store, snapshot_every=4)
        await filled(persister)
        await filled(persister, "2")
        await persister.save_state("doc", {"a": 1}, expected=0)
        await persister.delete_state("doc", expected=1)
        sealed: Seal = await self.seals(store).seal()
        assert (sealed.number, sealed.streams, sealed.events, sealed.anew) == (1, 3, 2 * LAST + 2, False)
        for _ in range(2):
            report = await self._verified(store)
            assert report.findings == []
            assert (report.seal, report.sealed_streams, report.pruned_streams) == (1, 3, 0)
            assert report.is_complete
            await persister.append(TALLIES, "1", Added("x"), expected=ANY)
            await persister.append(TALLIES, "3", Added("x"), expected=ANY)
            await persister.save_state("doc", {"a": 2}, expected=ANY, reopen=True)
        again: Seal = await self.seals(store).seal()
        assert (again.number, again.streams, again.previous) == (2, 4, sealed.digest)
        assert [seal.number for seal in await self.seals(store).list_seals()] == [1, 2]
        assert (await self._verified(store)).seal == 2

    @case
    async def test_a_governor_without_streams_can_be_sealed(self) -> None:
        store = self.open()
        sealed = await self.seals(store).seal()
        assert (sealed.streams, sealed.events) == (0, 0)
        report = await self._verified(store)
        assert (report.findings, report.seal) == ([], 1)
        await filled(self.persister(store))
        assert (await self.seals(store).seal()).streams == 1
        assert (await self._verified(store, seal=None)).findings == []

    @case
    async def test_another_governor_has_seals_of_its_own(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        await self.persister(store, governor="other").save_state("doc", 1, expected=0)
        assert (await self.seals(store).seal()).streams == 1
        assert (await self.seals(store, "other").seal()).number == 1

    @case
    async def test_a_seal_beside_writers_is_whole(self) -> None:
        """Each stream is sealed as it was at some moment, so whatever was acknowledged before is in it."""
        store = self.open()
        for id in range(4):
            await self.persister(store).append(TALLIES, str(id), Added("0"), expected=0)

        async def write(id: int) -> None:
            persister = self.persister(store)
            for mark in range(self.rounds * 2):
                await persister.append(TALLIES, str(id), Added(f"{mark}"), expected=ANY)

        async def seal() -> None:
            for _ in range(self.rounds):
                await self.seals(store).seal()

        await self.together([*(lambda id=id: write(id) for id in range(4)), seal])
        last = await self.seals(store).seal()
        assert (last.number, last.events) == (self.rounds + 1, 4 * (1 + self.rounds * 2))
        assert (await self._verified(store)).findings == []

    @case
    async def test_of_several_who_seal_each_takes_one(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        taken = await self.together([self.seals(store).seal] * 3)
        assert sorted(seal.number for seal in taken) == [1, 2, 3]
        assert len(await self._parts(store)) == 3
        assert (await self._verified(store)).findings == []

    @case
    async def test_none_is_taken_while_the_last_one_is_young(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        day = timedelta(days=1)
        first = await self.seals(store).seal(if_older_than=day)
        assert await self.seals(store).seal(if_older_than=day) == first
        assert (await self.seals(store).seal(if_older_than=timedelta())).number == 2

    # What is not

    @case
    async def test_a_history_that_was_cut_short_is_found(self) -> None:
        """The head is a true one, that of an earlier time: the chain alone has nothing to say."""
        for at, kept in ((5, 5), (8, 8)):
            store = self.open(apart=False)
            id = f"tally-{at}"
            persister = self.persister(store, snapshot_every=0)
            await persister.append(TALLIES, str(at), *(Added(str(n)) for n in range(kept)), expected=0)
            early = (await stored(store, head_key(id))).body
            await persister.append(TALLIES, str(at), Added("x"), Added("y"), expected=kept)
            await self.seals(store).seal(anew=True)
            await persister.append(TALLIES, str(at), Added("z"), expected=kept + 2)
            await taken_away(store, id, beyond=kept)
            await replace(store, head_key(id), early)
            assert str(entry_key(id, kept + 1)) in await self._wheres(store)

    @case
    async def test_a_cut_after_the_seal_is_not_its_to_find(self) -> None:
        """That is what seals are taken often for."""
        store = self.open()
        persister = self.persister(store, snapshot_every=0)
        await persister.append(TALLIES, "1", Added("a"), expected=0)
        await self.seals(store).seal()
        early = (await stored(store, head_key("tally-1"))).body
        await persister.append(TALLIES, "1", Added("b"), expected=1)
        await taken_away(store, "tally-1", beyond=1)
        await replace(store, head_key("tally-1"), early)
        assert await self._wheres(store) == []

    @case
    async def test_a_stream_that_was_taken_away_is_found(self) -> None:
        store = self.open()
        for id in ("1", "2", "3"):
            await filled(self.persister(store), id)
        await self.seals(store).seal()
        for id in ("2", "3", "1"):
            await taken_away(store, f"tally-{id}")
            assert str(entry_key(f"tally-{id}", 1)) in await self._wheres(store)
            with raises(CorruptionError) as caught:
                await self.seals(store).seal()
            assert "is gone" in caught.error.problem
        assert len(await self._wheres(store)) == 3

    @case
    async def test_a_history_written_anew_is_found(self) -> None:
        """Whoever writes it with good digests: as long as before, longer, or shorter."""
        for length in (LAST, LAST + 3, 2):
            store = self.open()
            id = f"tally-{length}"
            await filled(self.persister(store), str(length))
            await self.seals(store).seal(anew=True)
            await taken_away(store, id)
            await self.persister(store).append(
                TALLIES, str(length), *(Added(f"forged {n}") for n in range(length)), expected=0
            )
            (where,) = [where for where in await self._wheres(store) if id in where]
            # The forgery is one entry: it ends where the sealed one did, beyond it, or before.
            assert where == str(entry_key(id, min(length + 1, LAST)))
            with raises(CorruptionError) as caught:
                await self.seals(store).seal()
            assert "seal" in caught.error.problem

    @case
    async def test_nothing_is_sealed_over(self) -> None:
        """A change before the next seal is not part of it, unless that is asked for by name."""
        store = self.open()
        persister = self.persister(store, snapshot_every=0)
        await persister.append(TALLIES, "1", Added("a"), expected=0)
        early = (await stored(store, head_key("tally-1"))).body
        await persister.append(TALLIES, "1", Added("b"), expected=1)
        await self.seals(store).seal()
        await taken_away(store, "tally-1", beyond=1)
        await replace(store, head_key("tally-1"), early)
        parts = await self._parts(store)
        for _ in range(2):
            with raises(CorruptionError) as caught:
                await self.seals(store).seal()
            assert caught.error.where == str(head_key("tally-1"))
        assert [seal.number for seal in await self.seals(store).list_seals()] == [1]
        assert await self._parts(store) == parts, "what was begun is left behind"
        anew = await self.seals(store).seal(anew=True)
        assert (anew.number, anew.anew) == (2, True)
        assert await self._wheres(store) == []

    @case
    async def test_a_head_that_is_not_that_of_its_entries_is_not_sealed(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        key = entry_key("tally-1", LAST)
        good = (await stored(store, key)).body
        await replace(store, key, flipped(good, 10))
        with raises(CorruptionError):
            await self.seals(store).seal()
        await replace(store, key, good)
        await replace(store, head_key("tally-1"), flipped((await stored(store, head_key("tally-1"))).body, 70))
        with raises(CorruptionError) as caught:
            await self.seals(store).seal()
        assert caught.error.where == str(head_key("tally-1"))

    @case
    async def test_a_changed_or_missing_seal_is_found(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        for _ in range(3):
            await self.seals(store).seal()
        for number in (1, 2):
            key = seal_key(GOVERNOR, number)
            good = (await stored(store, key)).body
            await replace(store, key, flipped(good, -20))
            assert await self._wheres(store) == [str(key)]
            with raises(CorruptionError):
                await self.seals(store).seal()
            await committed(store, Delete(key, Require.EXISTS))
            assert await self._wheres(store) == [str(key)]
            with raises(CorruptionError):
                await self.seals(store).list_seals()
            await committed(store, Put(key, good, Require.ABSENT))
        assert await self._wheres(store) == []

    @case
    async def test_a_changed_or_missing_list_is_found(self) -> None:
        store = self.open()
        for id in range(6):
            await self.persister(store).append(TALLIES, str(id), Added("a"), expected=0)
        with patch.object(taking, "PART_BYTES", 150):  # two streams a part
            sealed = await self.seals(store).seal()
        parts = await self._parts(store)
        assert len(parts) == 3
        for key in parts:
            good = (await stored(store, key)).body
            await replace(store, key, flipped(good, -20))
            assert await self._wheres(store) == [str(key)]
            await committed(store, Delete(key, Require.EXISTS))
            assert await self._wheres(store) != []
            await committed(store, Put(key, good, Require.ABSENT))
        last = part_key(GOVERNOR, sealed.listed, 3)
        other = (await stored(store, part_key(GOVERNOR, sealed.listed, 1))).body
        await replace(store, last, other)
        assert await self._wheres(store) == [str(last)]

    # Pruned streams

    @case
    async def test_a_pruned_stream_is_as_sealed_up_to_the_seal(self) -> None:
        store = self.open()
        persister = self.persister(store, snapshot_every=0)
        for version in range(1, 9):
            await persister.append(TALLIES, "1", Added(str(version)), expected=version - 1)
            if version == 6:
                await self.seals(store).seal()
            if version in (3, 6, 7):
                await persister.create_snapshot(TALLIES, "1")
        for base, problems in ((3, 0), (6, 0), (7, 1)):
            await cut_before(store, "tally-1", base)
            report = await self._verified(store)
            assert len(report.findings) == problems, report.findings
            assert report.sealed_streams == 1
            assert report.pruned_streams == 1
        assert "prune only what is sealed" in (await self._verified(store)).findings[0].problem
        with raises(CorruptionError):
            await self.seals(store).seal()
        await self.seals(store).seal(anew=True)
        assert await self._wheres(store) == []

    @case
    async def test_retention_keeps_what_is_not_sealed(self) -> None:
        """Nothing goes that the newest seal did not see, so that prunes and seals don't disturb each other."""
        store = self.open()
        persister = self.persister(store, snapshot_every=0)

        async def write(id: str, count: int) -> None:
            for _ in range(count):
                await persister.append(TALLIES, id, Added("x"), expected=ANY)

        await write("1", 6)
        await write("2", 3)
        await self.seals(store).seal()
        await write("1", 4)
        await write("new", 4)
        manager: Any = RetentionManager if self.world.name == "sync" else AsyncRetentionManager
        retention = Face(manager(store, governor=GOVERNOR, machines=[TALLIES]))
        policy = RetentionPolicy(keep_last=1)
        planned = await retention.plan(policy)
        assert planned.held_by == {"seal": 2}
        report = await retention.prune(policy)
        assert (report.total.pruned_events, report.held_by) == (6 + 2, {"seal": 2})
        verified = await self._verified(store)
        assert (verified.findings, verified.pruned_streams) == ([], 2)
        await self.seals(store).seal()
        assert (await retention.prune(policy)).total.pruned_events == 3 + 3
        assert (await self._verified(store)).findings == []
        assert (await self.seals(store).seal()).streams == 3
        assert (await persister.load(TALLIES, "1")).data.total == 10

    # What stays in the store

    @case
    async def test_only_the_lists_of_the_last_seals_are_kept(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        taken = [await self.seals(store).seal(keep=2) for _ in range(4)]
        assert {key.id for key in await self._parts(store)} == {seal.listed for seal in taken[-2:]}
        assert [seal.number for seal in await self.seals(store).list_seals()] == [1, 2, 3, 4]
        assert await self._wheres(store) == []
        with raises(InvalidInputError):
            await self.seals(store).seal(keep=0)

    @case
    async def test_what_a_dead_sealer_left_is_removed_once_it_is_old(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        left = part_key(GOVERNOR, f"{LISTS}left", 1)
        await committed(store, Put(left, b'{"t":"x"}', Require.ABSENT))
        await self.seals(store).seal()
        assert left in await self._parts(store), "it may be of somebody who is at work"
        with patch.object(taking, "ABANDONED_MICROS", -1):
            await self.seals(store).seal()
        assert left not in await self._parts(store)
        assert await self._wheres(store) == []

    @case
    async def test_whatever_answer_is_lost_one_seal_is_taken(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        taken = 0
        for faults in (
            [Fault.LOST_ANSWER],
            [Fault.NONE, Fault.LOST_ANSWER],
            [Fault.NONE, Fault.LOST_REQUEST],
            [Fault.LOST_ANSWER, Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.LOST_ANSWER],
        ):
            faulty = FaultyStore(store, faults, runtime=self.world.steered())
            sealed = await self.seals(faulty).seal()
            taken += 1
            assert sealed.number == taken
        assert [seal.number for seal in await self.seals(store).list_seals()] == list(range(1, taken + 1))
        assert await self._wheres(store) == []

    # Files

    @case
    async def test_a_seal_that_was_kept_elsewhere(self) -> None:
        store = self.open()
        persister = self.persister(store, snapshot_every=0)
        await persister.append(TALLIES, "1", Added("a"), expected=0)
        early = (await stored(store, head_key("tally-1"))).body
        await self.seals(store).seal()
        await persister.append(TALLIES, "1", Added("b"), expected=1)
        sealed = await self.seals(store).seal()
        with tempfile.TemporaryDirectory() as folder:
            small, full = Path(folder) / "small.json", Path(folder) / "full.json"
            assert await self.seals(store).export(small) == sealed
            assert await self.seals(store).export(full, number=2, full=True) == sealed
            assert sorted(os.listdir(folder)) == ["full.json", "small.json"]
            assert len(small.read_bytes().splitlines()) == 1
            for file in (SealFile.read(small), SealFile.read(full)):
                assert file.seal == sealed
                report = await self._verified(store, seal=file)
                assert (report.findings, report.seal, report.sealed_streams) == ([], 2, 1)
            # Somebody cuts the history and takes away the seal that would tell.
            await taken_away(store, "tally-1", beyond=1)
            await replace(store, head_key("tally-1"), early)
            await committed(store, Delete(seal_key(GOVERNOR, 2), Require.EXISTS))
            assert await self._wheres(store) == [], "nothing in the store tells"
            second, cut = str(seal_key(GOVERNOR, 2)), str(entry_key("tally-1", 2))
            assert await self._wheres(store, seal=SealFile.read(small)) == [second, cut]
            assert await self._wheres(store, seal=SealFile.read(full)) == [cut]
            # And makes another second one.
            await self.seals(store).seal(anew=True)
            assert second in await self._wheres(store, seal=SealFile.read(small))
            assert await self._wheres(store, seal=SealFile.read(full)) == [second, cut]

    @case
    async def test_a_file_that_can_not_be_used(self) -> None:
        store = self.open()
        await filled(self.persister(store))
        with raises(InvalidInputError):
            await self.seals(store).export("x.json")
        await self.seals(store).seal()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "seal.json"
            with raises(InvalidInputError):
                await self.seals(store).export(file, number=7)
            with raises(InvalidInputError):
                await self.seals(store).export(Path(folder) / "none" / "seal.json")
            assert os.listdir(folder) == []
            await self.seals(store).export(file, full=True)
            good = file.read_bytes()
            begin = SealFile.read(file).begin
            for bad in (b"", b"{}", b"[1]", good.replace(b'"streams":1', b'"streams":2'), good[: begin // 2]):
                file.write_bytes(bad)
                with raises(InvalidInputError):
                    SealFile.read(file)
            for bad in (good[:begin], good[:-5], good + good[begin:], good[:begin] + b"[]\n"):
                file.write_bytes(bad)
                assert await self._wheres(store, seal=SealFile.read(file)) != [], bad
            file.write_bytes(good)
            with raises(InvalidInputError):
                await self.persister(store, governor="other").validate_consistency(seal=SealFile.read(file))

    # A verification in parts

    @case
    async def test_a_verification_goes_on_where_it_was(self) -> None:
        store = self.open()
        persister = self.persister(store, snapshot_every=0)
        ids = [f"doc-{n:03}" for n in range(230)]
        for begin in range(0, len(ids), 100):
            await persister.append_together(*(saved(id) for id in ids[begin : begin + 100]))
        await self.seals(store).seal()
        for id in (ids[3], ids[150], ids[229]):
            await replace(store, entry_key(id, 1), flipped((await stored(store, entry_key(id, 1))).body, -5))
        await taken_away(store, ids[120])
        whole = await self._verified(store)
        assert [finding.state_id for finding in whole.findings] == [ids[3], ids[120], ids[150], ids[229]]
        report: ConsistencyReport | None = None
        rounds = 0
        while report is None or not report.is_complete:
            reports: list[ConsistencyReport] = []

            def stop(so_far: ConsistencyReport, reports: list[ConsistencyReport] = reports) -> None:
                reports.append(so_far)
                raise BrokenOffError

            with raises(BrokenOffError):
                await self._verified(store, progress=stop, resume=report)
            (report,) = reports
            rounds += 1
        assert rounds == 3
        assert report == whole
        assert await self._verified(store, resume=report) == whole


class BrokenOffError(Exception):
    """Ends a verification, as a kill would."""


def saved(id: str) -> Any:
    """A plain state to append."""
    return AppendTo(id, Event("saved", state={"id": id}), expected=0)


async def cut_before(store: Store, id: str, base: int) -> None:
    """Prune a stream up to a version that has a snapshot, as retention does."""
    digest = stored_digest((await stored(store, entry_key(id, base))).body)
    head = await stored(store, head_key(id))
    await replace(store, head.key, rebased_head(head, Base(base, digest), (base,), unique()))
    for document in (await store.scan(ENTRY, GOVERNOR, id=id)).documents:
        if document.key.n <= base:
            await committed(store, Delete(document.key, Require.EXISTS))
