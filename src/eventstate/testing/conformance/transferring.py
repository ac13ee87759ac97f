"""Cases for exports, imports and copies: what arrives is what left, whatever happens on the way."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest.mock import patch

import orjson

from eventstate.core.chain import stored_digest
from eventstate.core.documents import COMMAND, DOCUMENT, GUARD, Document
from eventstate.core.expected import ANY
from eventstate.core.format import Base, Image, decode_head, decode_snapshot, encode_snapshot, rebased_head, unborn
from eventstate.core.planner import plan_head
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    HistoryConflictError,
    InvalidInputError,
    StateNotFoundError,
    StoreUnavailableError,
    TransactionConflictError,
)
from eventstate.log.transfer import loose, target
from eventstate.log.transfer.async_stream_transfer import AsyncStreamTransfer
from eventstate.log.transfer.stream_transfer import StreamTransfer
from eventstate.log.transfer.streams import COPYING
from eventstate.machines.async_transaction_manager import AsyncTransactionManager
from eventstate.machines.events import Event
from eventstate.machines.transaction_manager import TransactionManager
from eventstate.stores.base import Store
from eventstate.stores.memory import MemoryStore
from eventstate.testing.conformance.persisters import (
    DOORS,
    GOVERNOR,
    TALLIES,
    Added,
    Doubled,
    Face,
    PersisterSuite,
    Turned,
    alter,
    entry_key,
    everything,
    head_key,
    snapshot_key,
    stored,
)
from eventstate.testing.conformance.suite import (
    Batch,
    Put,
    Require,
    case,
    raises,
    read,
    remove,
    together,
    unique,
)
from eventstate.testing.faults import Fault, FaultyStore

LARGE: Final = 70_000
"""Characters of a state that no head keeps."""

SMALL_BATCH: Final = 3_000


@contextmanager
def small_batches() -> Generator[None]:
    """Commits of a few entries, so that streams need several."""
    with patch.object(target, "BATCH_BYTES", SMALL_BATCH), patch.object(loose, "ITEMS", 3):
        yield


class Transfer:
    """A transfer of either world; its methods are awaited."""

    def __init__(self, transfer: StreamTransfer | AsyncStreamTransfer) -> None:
        self._transfer = transfer

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._transfer, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return call


class TransferSuite(PersisterSuite):
    """A store of the backend, and others in memory that streams come from or go to."""

    def transfer(self, store: Store, *, governor: str = GOVERNOR) -> Transfer:
        face = StreamTransfer if self.world.name == "sync" else AsyncStreamTransfer
        return Transfer(face(store, governor=governor))

    def memory(self) -> Store:
        """Another store, empty."""
        store = MemoryStore(self.world.runtime())
        self._opened = [*(self._opened or ()), store]
        return store

    async def exported(self, store: Store, *, governor: str = GOVERNOR, **options: Any) -> bytes:
        """The bytes of an export."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.jsonl"
            await self.transfer(store, governor=governor).export_file(path, **options)
            return path.read_bytes()

    async def fill(self, store: Store, random: Random | None = None) -> None:
        """Streams of all kinds: typed and plain, deleted and reopened, long and large."""
        random = random or Random(7)
        persister = self.persister(store, snapshot_every=7, keep_snapshots=2)
        for number in range(random.randrange(4, 9)):
            for mark in range(random.randrange(1, 4)):
                await persister.append(TALLIES, str(number), Added(f"a{mark}"), Doubled(f"d{mark}"), expected=ANY)
        await persister.append(DOORS, "front", Turned("open"), expected=0, changed_by="kim", reason="summer")
        for mark in range(30):
            await persister.append(TALLIES, "long", *(Added(f"{mark}.{n}") for n in range(mark % 3 + 1)), expected=ANY)
        for length in (10, LARGE, LARGE + 1):
            await persister.save_state("großes/🦊", {"text": "x" * length}, expected=ANY, context={"n": length})
        await persister.append("plain", Event("odd", state={"f": 1.5, "big": 2**60, "none": None}), expected=ANY)
        await persister.save_state("gone", 1, expected=0)
        await persister.delete_state("gone", expected=1)
        await persister.append(TALLIES, "back", Added("before"), expected=0)
        await persister.delete_state(TALLIES, "back", expected=1)
        await persister.append(TALLIES, "back", Added("after"), expected=ANY, reopen=True)

    async def states(self, persister: Face) -> dict[str, Any]:
        """What recovery says of every stream."""
        return {item.id: (item.version, item.data, item.status) for item in await persister.recover()}

    async def same(self, one: Store, other: Store) -> None:
        """Fail unless both hold the same streams, in the same bytes, and all is sound."""
        assert await self.exported(one) == await self.exported(other)
        persisters = [self.persister(store) for store in (one, other)]
        for persister in persisters:
            await self.consistent(persister)
        assert await self.states(persisters[0]) == await self.states(persisters[1])


async def prune_at(store: Store, id: str, version: int) -> None:
    """Have a stream begin at a version, as retention does: base snapshot, base in the head, then the deletions."""
    head = await stored(store, head_key(id))
    kept = await stored(store, snapshot_key(id, version))
    snapshot, plain = decode_snapshot(kept)
    tip = decode_head(head)[0].tip
    image = Image(orjson.dumps(plain), snapshot.image.fold, snapshot.image.schema, snapshot.image.label)
    digest = stored_digest((await stored(store, entry_key(id, version))).body)
    at_base = tip._replace(version=version, digest=digest, at=snapshot.at, incarnation=1)
    token = unique()
    later = [n for n in tip.snapshots if n >= version]
    bodies = encode_snapshot(at_base, image, token=token, is_base=True)
    rebased = rebased_head(head, Base(version, digest), later, token)
    operations = [Put(kept.key, bodies, Require.EXISTS), Put(head.key, rebased, head.revision)]
    await store.commit(Batch(token, operations))
    for key in await everything(store):
        is_gone = key.n <= version if key.kind == "entry" else 0 < key.n < version
        if key.id == id and is_gone:
            await remove(store, key)


class CopyCases(TransferSuite):
    """Copies that nobody disturbs."""

    @case
    async def test_a_copy_there_and_back_is_the_same_to_the_byte(self) -> None:
        first, middle, last = self.memory(), self.open(), self.memory()
        await self.fill(first)
        there = await self.transfer(first).copy_to(middle)
        back = await self.transfer(middle).copy_to(last)
        assert there == back
        assert there.streams > 8
        assert there.streams_there == there.streams_behind == 0
        await self.same(first, middle)
        await self.same(first, last)

    @case
    async def test_many_small_batches_make_the_same(self) -> None:
        first, middle = self.memory(), self.open()
        await self.fill(first)
        with small_batches():
            report = await self.transfer(first).copy_to(middle)
        assert report.entries == sum(key.kind == "entry" for key in await everything(first))
        await self.same(first, middle)

    @case
    async def test_a_second_copy_writes_nothing(self) -> None:
        first, second = self.open(), self.memory()
        await self.fill(first)
        copied = await self.transfer(first).copy_to(second)
        before = await everything(second)
        again = await self.transfer(first).copy_to(second)
        assert (again.streams, again.entries, again.streams_there) == (0, 0, copied.streams)
        assert await everything(second) == before

    @case
    async def test_what_was_added_is_brought_over(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        await self.transfer(first).copy_to(second)
        persister = self.persister(first, snapshot_every=7, keep_snapshots=2)
        for mark in range(20):
            await persister.append(TALLIES, "long", Added(f"late {mark}"), expected=ANY)
        await persister.append(TALLIES, "new", Added("first"), expected=0)
        report = await self.transfer(first).copy_to(second)
        assert (report.streams, report.entries) == (2, 21)
        await self.same(first, second)

    @case
    async def test_copies_are_written_to_like_their_source(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        await self.transfer(first).copy_to(second)
        persister = self.persister(second)
        loaded = await persister.load(TALLIES, "long")
        await persister.append(TALLIES, "long", Added("here"), expected=loaded)
        await persister.append(TALLIES, "back", Added("here"), expected=ANY)
        assert (await self.marks(persister, "long"))[-1] == "here"
        await self.consistent(persister)
        assert (await persister.load(TALLIES, "long", at_version=3)).version == 3

    @case
    async def test_some_streams(self) -> None:
        first, second = self.open(), self.memory()
        await self.fill(first)
        report = await self.transfer(first).copy_to(second, state_ids=["tally-long", "gone", "tally-long"])
        assert report.streams == 2
        assert {key.id for key in await everything(second)} == {"tally-long", "gone"}
        assert await self.exported(first, state_ids=["tally-long"]) == await self.exported(
            second, state_ids=["tally-long"]
        )
        await self.transfer(first).copy_to(second, prefix="tally-")
        ids = {key.id for key in await everything(first) if key.id.startswith("tally-")}
        assert {key.id for key in await everything(second)} == {*ids, "gone"}
        with raises(StateNotFoundError):
            await self.transfer(first).copy_to(second, state_ids=["nobody"])

    @case
    async def test_a_pruned_stream_arrives_pruned(self) -> None:
        first, middle, last = self.memory(), self.open(), self.memory()
        await self.fill(first)
        document = await stored(first, head_key("tally-long"))
        base = decode_head(document)[0].tip.snapshots[0]
        await prune_at(first, "tally-long", base)
        await self.consistent(self.persister(first))
        with small_batches():
            await self.transfer(first).copy_to(middle)
        await self.transfer(middle).copy_to(last)
        await self.same(first, middle)
        await self.same(first, last)
        persister = self.persister(last)
        assert (await persister.load(TALLIES, "long", at_version=base)).version == base
        await persister.append(TALLIES, "long", Added("after"), expected=ANY)
        await self.consistent(persister)

    @case
    async def test_a_source_that_is_pruned_after_the_copy_changes_nothing_there(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        await self.transfer(first).copy_to(second)
        tip = decode_head(await stored(first, head_key("tally-long")))[0].tip
        await prune_at(first, "tally-long", tip.snapshots[0])
        await self.persister(first).append(TALLIES, "long", Added("late"), expected=ANY)
        report = await self.transfer(first).copy_to(second)
        assert (report.streams, report.entries) == (1, 1)
        persister = self.persister(second)
        await self.consistent(persister)
        assert (await self.marks(persister, "long"))[-1] == "late"

    @case
    async def test_another_governor_needs_new_chains(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        with raises(ConfigurationError):
            await self.transfer(first).copy_to(second, governor="annex")
        assert await second.owners() == []
        with small_batches():
            report = await self.transfer(first).copy_to(second, governor="annex", rechain=True)
        persister = self.persister(second, governor="annex")
        await self.consistent(persister)
        assert await self.states(persister) == await self.states(self.persister(first))
        again = await self.transfer(first).copy_to(second, governor="annex", rechain=True)
        assert (again.streams, again.streams_there) == (0, report.streams)
        await persister.append(TALLIES, "long", Added("theirs"), expected=ANY)
        with raises(HistoryConflictError):
            await self.transfer(first).copy_to(second, governor="annex", rechain=True)

    @case
    async def test_new_chains_go_on_after_a_prune_of_the_source(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        await self.transfer(first).copy_to(second, governor="annex", rechain=True)
        tip = decode_head(await stored(first, head_key("tally-long")))[0].tip
        await prune_at(first, "tally-long", tip.snapshots[0])
        await self.persister(first).append(TALLIES, "long", Added("late"), expected=ANY)
        report = await self.transfer(first).copy_to(second, governor="annex", rechain=True)
        assert (report.streams, report.entries) == (1, 1)
        persister = self.persister(second, governor="annex")
        await self.consistent(persister)
        assert (await self.marks(persister, "long"))[-1] == "late"

    @case
    async def test_a_store_can_not_be_copied_into_itself(self) -> None:
        store = self.open()
        if store.url == "memory://":  # every one of them is called so
            return
        with raises(ConfigurationError):
            await self.transfer(store).copy_to(self.open())


class LooseCases(TransferSuite):
    """Idempotency keys and documents."""

    def manager(self, store: Store) -> Any:
        face = TransactionManager if self.world.name == "sync" else AsyncTransactionManager
        return Transfer(face(store, governor=GOVERNOR, guarded=["prices"]))  # type: ignore[arg-type]

    async def fill_loose(self, store: Store) -> None:
        persister = self.persister(store)
        for number in range(8):
            await persister.append(TALLIES, "keyed", Added(f"{number}"), expected=ANY, idempotency_key=f"key-{number}")
        manager = self.manager(store)

        def put_all(tx: Any) -> Any:
            return [
                tx.put_document(name, str(n), {"n": n, "text": "ü"}) for name in ("stock", "prices") for n in range(4)
            ]

        async def put_all_awaited(tx: Any) -> None:
            for put in put_all(tx):
                await put

        await manager.execute_transaction(put_all if self.world.name == "sync" else put_all_awaited)

    @case
    async def test_keys_and_documents_come_along_where_they_are_asked_for(self) -> None:
        first, middle, last = self.memory(), self.open(), self.memory()
        await self.fill_loose(first)
        plain = await self.transfer(first).copy_to(middle)
        assert plain.commands == plain.documents == 0
        with small_batches():
            report = await self.transfer(first).copy_to(middle, commands=True, documents=True)
        assert (report.commands, report.documents, report.streams) == (9, 8, 0) or report.commands == 8
        assert report.documents == 8
        await self.transfer(middle).copy_to(last, commands=True, documents=True)
        everywhere = [await self.exported(store, commands=True, documents=True) for store in (first, middle, last)]
        assert everywhere[0] == everywhere[1] == everywhere[2]
        again = await self.persister(middle).append(TALLIES, "keyed", Added("3"), expected=ANY, idempotency_key="key-3")
        assert again.version in {4, 8}
        assert (await self.persister(middle).load(TALLIES, "keyed")).version == 8
        assert (await middle.scan(GUARD, GOVERNOR)).documents

    @case
    async def test_a_document_that_is_there_stays(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill_loose(first)
        await self.transfer(first).copy_to(second, commands=True, documents=True)
        document = (await first.scan(DOCUMENT, GOVERNOR, limit=1)).documents[0]
        before = await self._loose(second)
        await self.manager(first).execute_transaction(self._puts("stock", "0", {"n": 99}))
        with raises(HistoryConflictError) as caught:
            await self.transfer(first).copy_to(second, documents=True)
        assert "document" in caught.error.problem
        assert document.key.kind == DOCUMENT
        assert await self._loose(second) == before

    @case
    async def test_lost_answers(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill_loose(first)
        for fault in (Fault.LOST_ANSWER, Fault.LOST_REQUEST):
            faulty = FaultyStore(second, [fault, Fault.NONE] * 20, runtime=self.world.steered())
            with small_batches():
                await self.transfer(first).copy_to(faulty, commands=True, documents=True)
        exports = [await self.exported(store, commands=True, documents=True) for store in (first, second)]
        assert exports[0] == exports[1]

    def _puts(self, collection: str, id: str, value: Any) -> Any:
        def put(tx: Any) -> None:
            tx.put_document(collection, id, value)

        async def put_awaited(tx: Any) -> None:
            await tx.put_document(collection, id, value)

        return put if self.world.name == "sync" else put_awaited

    async def _loose(self, store: Store) -> list[Document]:
        pages = [await store.scan(kind, GOVERNOR) for kind in (COMMAND, DOCUMENT)]
        return [document for page in pages for document in page.documents]


class InterruptedCopyCases(TransferSuite):
    """Copies that end in the middle, and go on."""

    @case
    async def test_a_copy_that_ends_anywhere_leaves_sound_streams_and_goes_on(self) -> None:
        first = self.memory()
        await self.fill(first)
        second = self.open()
        rounds = 0
        reached = 0
        done = False
        while not done:
            rounds += 1
            faulty = FaultyStore(second, [*[Fault.NONE] * (rounds % 3), *[Fault.UNAVAILABLE] * 1000])
            with small_batches():
                try:
                    await self.transfer(first).copy_to(faulty)
                    done = True
                except StoreUnavailableError:
                    pass
            persister = self.persister(second)
            await self.consistent(persister)
            entries = sum(key.kind == "entry" for key in await everything(second))
            assert entries >= reached
            reached = entries
            assert rounds < 200
        assert rounds > 5
        await self.same(first, second)

    @case
    async def test_lost_answers_and_lost_requests_change_nothing(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        random = Random(3)
        faults = [random.choice((Fault.NONE, Fault.LOST_ANSWER, Fault.LOST_REQUEST)) for _ in range(500)]
        faulty = FaultyStore(second, faults, runtime=self.world.steered())
        with small_batches():
            report = await self.transfer(first).copy_to(faulty)
        assert report.entries == sum(key.kind == "entry" for key in await everything(first))
        await self.same(first, second)

    @case
    async def test_a_late_copy_of_a_batch_does_no_harm(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        faulty = FaultyStore(second, [Fault.NONE, Fault.DELAYED], runtime=self.world.steered())
        with small_batches():
            await self.transfer(first).copy_to(faulty)
        while faulty.held:
            await faulty.deliver()
        await self.same(first, second)

    @case
    async def test_a_stream_that_is_copied_in_part_says_so(self) -> None:
        first, second = self.memory(), self.open()
        await self.part_of_a_copy(first, second)
        members = orjson.loads((await stored(second, head_key("tally-long"))).body)
        whole = decode_head(await stored(first, head_key("tally-long")))[0].tip
        assert members["n"] < members[COPYING] == whole.version
        persister = self.persister(second)
        assert (await persister.load(TALLIES, "long")).version == members["n"]
        with raises(InvalidInputError):
            await self.transfer(second).copy_to(self.memory())
        with raises(InvalidInputError):
            await self.exported(second)

    async def part_of_a_copy(self, first: Store, second: Store) -> None:
        """Copy the beginning of a long stream."""
        persister = self.persister(first)
        for mark in range(40):
            await persister.append(TALLIES, "long", Added(f"{mark}"), expected=ANY)
        faulty = FaultyStore(second, [Fault.NONE, *[Fault.UNAVAILABLE] * 1000])
        with small_batches(), raises(StoreUnavailableError):
            await self.transfer(first).copy_to(faulty)

    @case
    async def test_what_somebody_wrote_into_a_part_is_not_overwritten(self) -> None:
        first, second = self.memory(), self.open()
        await self.part_of_a_copy(first, second)
        persister = self.persister(second)
        await persister.append(TALLIES, "long", Added("mine"), expected=ANY)
        before = await everything(second)
        with raises(HistoryConflictError) as caught:
            await self.transfer(first).copy_to(second)
        assert (caught.error.stream, caught.error.is_transient) == ("tally-long", False)
        assert await everything(second) == before
        await self.consistent(persister)

    @case
    async def test_who_writes_during_a_copy_is_noticed(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        theirs = self.persister(second)
        faulty = FaultyStore(second)

        has_written = False

        async def write(batch: Batch) -> None:
            nonlocal has_written
            is_half = any(
                op.key.kind == "entry" and op.key.id == "tally-long" and op.key.n > 20 for op in batch.operations
            )
            if is_half and not has_written:
                has_written = True
                await theirs.append(TALLIES, "long", Added("mine"), expected=ANY)

        faulty.before_commit = write
        with small_batches(), raises(TransactionConflictError, HistoryConflictError):
            await self.transfer(first).copy_to(faulty)
        await self.consistent(theirs)
        assert "mine" in await self.marks(theirs, "long")

    @case
    async def test_two_copies_at_once(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        stores = [second, self.open()]

        async def copy(store: Store) -> None:
            for _ in range(50):
                try:
                    await self.transfer(first).copy_to(store)
                    return
                except TransactionConflictError:
                    continue
            raise AssertionError("never came to an end")

        with small_batches():
            await together(self.world, [lambda store=store: copy(store) for store in stores])
        await self.same(first, second)

    @case
    async def test_a_source_that_is_written_to_meanwhile(self) -> None:
        first, second = self.open(), self.memory()
        await self.fill(first)
        writer = self.persister(first)
        faulty = FaultyStore(second)
        number = 0

        async def write(_batch: Batch) -> None:
            nonlocal number
            number += 1
            await writer.append(TALLIES, f"{number % 4}", Added(f"w{number}"), expected=ANY)
            await writer.append(TALLIES, f"new-{number}", Added("n"), expected=0)

        faulty.before_commit = write
        with small_batches():
            report = await self.transfer(first).copy_to(faulty)
        assert number > 3
        assert report.streams_behind > 0
        await self.consistent(self.persister(second))
        last = await self.transfer(first).copy_to(second)
        assert last.streams_behind == 0
        await self.same(first, second)


class OtherHistoryCases(TransferSuite):
    """Targets and sources that are not what they should be."""

    @case
    async def test_another_history_of_the_same_length(self) -> None:
        first, second = self.memory(), self.open()
        for store, mark in ((first, "one"), (second, "other")):
            persister = self.persister(store)
            for number in range(5):
                await persister.append(TALLIES, "1", Added(f"{mark} {number}"), expected=number)
        before = await everything(second)
        with raises(HistoryConflictError):
            await self.transfer(first).copy_to(second)
        assert await everything(second) == before

    @case
    async def test_another_history_that_is_shorter_or_longer(self) -> None:
        for lengths in ((5, 3), (3, 5)):
            first, second = self.memory(), self.memory()
            for store, length in zip((first, second), lengths, strict=True):
                persister = self.persister(store)
                for number in range(length):
                    await persister.append(TALLIES, "1", Added(f"{length} {number}"), expected=number)
            before = await everything(second)
            with raises(HistoryConflictError):
                await self.transfer(first).copy_to(second)
            assert await everything(second) == before

    @case
    async def test_a_target_that_went_on_by_itself(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        await self.transfer(first).copy_to(second)
        await self.persister(second).append(TALLIES, "long", Added("mine"), expected=ANY)
        before = await everything(second)
        with raises(HistoryConflictError):
            await self.transfer(first).copy_to(second)
        assert await everything(second) == before

    @case
    async def test_a_target_pruned_source_it_can_not_be_compared_with(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        theirs = self.persister(second)
        await theirs.append(TALLIES, "long", Added("0.0"), expected=0)
        tip = decode_head(await stored(first, head_key("tally-long")))[0].tip
        await prune_at(first, "tally-long", tip.snapshots[0])
        with raises(HistoryConflictError) as caught:
            await self.transfer(first).copy_to(second, state_ids=["tally-long"])
        assert "pruned" in caught.error.problem

    @case
    async def test_a_changed_entry_is_not_copied(self) -> None:
        first, second = self.open(), self.memory()
        persister = self.persister(first)
        for number in range(5):
            await persister.append(TALLIES, "1", Added(f"m{number}"), expected=number)
        await alter(first, entry_key("tally-1", 3), b'"m2"', b'"x2"')
        with raises(CorruptionError) as caught:
            await self.transfer(first).copy_to(second)
        assert "tally-1:3" in caught.error.where
        assert await everything(second) == {}
        with raises(CorruptionError):
            await self.exported(first)

    @case
    async def test_a_missing_entry_or_head_is_told(self) -> None:
        for key in (entry_key("tally-1", 2), entry_key("tally-1", 3), head_key("tally-1"), head_key("tally-2")):
            first = self.memory()
            persister = self.persister(first)
            for id in ("0", "1", "2"):
                for number in range(3):
                    await persister.append(TALLIES, id, Added(f"m{number}"), expected=number)
            await remove(first, key)
            with raises(CorruptionError) as caught:
                await self.transfer(first).copy_to(self.memory())
            assert key.id in caught.error.where

    @case
    async def test_a_target_whose_head_is_lost_is_not_written_to(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        await self.transfer(first).copy_to(second)
        await remove(second, head_key("tally-long"))
        before = await everything(second)
        with raises(CorruptionError):
            await self.transfer(first).copy_to(second)
        assert await everything(second) == before

    @case
    async def test_bad_snapshots_are_left_out(self) -> None:
        first, second = self.open(), self.memory()
        await self.fill(first)
        tip = decode_head(await stored(first, head_key("tally-long")))[0].tip
        await remove(first, snapshot_key("tally-long", tip.snapshots[0]))
        await alter(first, snapshot_key("tally-long", tip.snapshots[1]), b'"total"', b'"totaL"')
        await self.transfer(first).copy_to(second)
        copied = decode_head(await stored(second, head_key("tally-long")))[0].tip
        assert copied.snapshots == ()
        await self.consistent(self.persister(second))

    @case
    async def test_a_head_that_only_stopped_a_commit_is_in_nobodys_way(self) -> None:
        first, second = self.memory(), self.open()
        await self.fill(first)
        for store in (first, second):
            for id in ("tally-long", "aaa"):
                if await read(store, head_key(id)) is None:
                    plan = plan_head(unborn(GOVERNOR, id), None, "", {}, token=unique())
                    await store.commit(plan.batch)
        report = await self.transfer(first).copy_to(second)
        assert report.streams > 3
        await self.same(first, second)


class TransferCases(CopyCases, LooseCases, InterruptedCopyCases, OtherHistoryCases):
    """All of them."""


__all__ = ["TransferCases"]
