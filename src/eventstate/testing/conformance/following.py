"""What a transaction leaves: its record, and effects to be delivered; and what it needs: the locks it is fenced by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from eventstate.core.documents import OUTBOX, OUTCOME, TRANSACTION
from eventstate.core.instants import micros_of
from eventstate.errors import (
    ConfigurationError,
    InvalidInputError,
    LeaseLostError,
    TransactionConflictError,
)
from eventstate.stores.base import Store
from eventstate.testing.conformance.doubt import LOST_ANSWER, LOST_REQUEST, NEVER_ANSWERED
from eventstate.testing.conformance.persisters import GOVERNOR, TALLIES, Added
from eventstate.testing.conformance.suite import Key, case, exists, raises
from eventstate.testing.conformance.unanswered import WAYS, note_twice
from eventstate.testing.conformance.undertaking import (
    NOTES,
    Sequence,
    SlowLists,
    TransactionSuite,
    Tx,
    add_and_note,
    count_up,
    get_note,
    put_note,
)
from eventstate.testing.faults import on_call
from eventstate.transactions.dispatching import OUTBOX_LOCK, Dispatching
from eventstate.transactions.locking import Locking
from eventstate.transactions.locks import DistributedLock
from eventstate.transactions.outbox import DeliveryReport, Effect
from eventstate.transactions.records import TransactionStatus

HOUR: Final = 3_600_000_000
DAY: Final = 24 * HOUR


class RecordCases(TransactionSuite):
    """The log of transactions."""

    @case
    async def test_a_record_tells_what_the_transaction_did(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await self.note(store, read=1)
        began = store.runtime.now()
        happening = Sequence(partial(other.meanwhile, put_note, "read", 2))

        async def operation(tx: Tx) -> list[int]:
            value = await get_note(tx, "read")
            await happening.here()
            await tx.put_document(NOTES, "written", value)
            await tx.append(TALLIES, "1", Added("a"))
            return [value]

        await manager.run(operation)
        record = (await manager.log())[-1]
        assert record.status is TransactionStatus.COMMITTED
        assert record.reads == (f"document {GOVERNOR}/notes/read", f"head {GOVERNOR}/tally-1")
        assert record.writes == (f"document {GOVERNOR}/notes/written", f"head {GOVERNOR}/tally-1")
        assert (record.attempts, record.reason, record.result) == (2, None, [2])
        assert began <= micros_of(record.start_time, "t") <= micros_of(record.end_time, "t") <= store.runtime.now()
        assert await manager.core.records.get(record.transaction_id) == record
        assert await manager.core.records.get("nothing") is None

    @case
    async def test_the_record_is_part_of_the_commit(self) -> None:
        """So it is there exactly if the transaction is, whatever happens to whoever ran it."""
        store = self.open()
        for way in WAYS:
            faulty = self.faulty(store)
            await self.manager(faulty).run(way, "a")
            assert len(faulty.sent) == 1
            assert TRANSACTION in {operation.key.kind for operation in faulty.sent[0].operations}
            faulty.then(LOST_ANSWER, *NEVER_ANSWERED)
            await self.unknown(self.manager(faulty).run(way, "b"))
            record = await self.manager(store).core.records.get(faulty.sent[1].token)
            assert record is not None
            assert record.status is TransactionStatus.COMMITTED
            faulty.then(*NEVER_ANSWERED)
            await self.unknown(self.manager(faulty).run(way, "c"))
            assert await self.manager(store).core.records.get(faulty.sent[-1].token) is None

    @case
    async def test_those_that_were_given_up_leave_a_reason(self) -> None:
        store = self.open()
        manager, other = self.manager(self.faulty(store)), self.manager(store)
        happening = Sequence(partial(other.meanwhile, count_up, "n"), times=100)

        async def refused(tx: Tx) -> None:
            await get_note(tx, "n")
            await happening.here()
            await tx.put_document(NOTES, "m", 1)

        async def raising(tx: Tx) -> None:
            await tx.put_document(NOTES, "m", 1)
            raise ZeroDivisionError("x" * 5000)

        async def mistaken(tx: Tx) -> None:
            await tx.append(TALLIES, "1", Added("a"), expected=7)

        with raises(TransactionConflictError):
            await manager.run(refused)
        with raises(ZeroDivisionError):
            await manager.run(raising)
        with raises(Exception):
            await manager.run(mistaken)
        records = [record for record in await manager.log() if record.status is not TransactionStatus.COMMITTED]
        assert [(r.status.name, r.attempts) for r in records] == [("FAILED", 5), ("ROLLED_BACK", 1), ("ROLLED_BACK", 1)]
        assert [str(r.reason).partition(":")[0] for r in records] == [
            "TransactionConflictError",
            "ZeroDivisionError",
            "VersionConflictError",
        ]
        assert all(len(str(r.reason)) <= 1000 for r in records)
        assert records[0].writes == (f"document {GOVERNOR}/notes/m",)
        assert await self.notes(store) == {"n": 5}

    @case
    async def test_those_that_only_read_leave_none(self) -> None:
        store = self.open()
        await self.manager(store, keep_records=False).run(put_note, "a", 1)
        manager = self.manager(store)
        await manager.run(get_note, "a")
        assert await manager.log() == []

    @case
    async def test_a_log_is_in_order_and_goes_over_pages(self) -> None:
        store = self.open()
        slow = SlowLists(store)
        manager = self.manager(slow)
        for number in range(5):
            await manager.run(put_note, "a", number)
        records = await manager.log()
        assert [record.result for record in records] == [0, 1, 2, 3, 4]
        assert [r.transaction_id for r in records] == sorted(r.transaction_id for r in records)
        since = records[2].start_time
        page, _ = await manager.core.records.page(manager.core.records.first_after(since))
        assert {record.result for record in page} >= {2, 3, 4}
        assert manager.core.records.first_after(since + timedelta(days=1)) > records[-1].transaction_id

    @case
    async def test_what_is_beyond_its_retention_is_swept(self) -> None:
        store = self.open()
        for later, left, outcomes in ((0, 4, 2), (2 * HOUR, 0, 2), (7 * DAY, 0, 2), (8 * DAY + HOUR, 0, 0)):
            manager = self.manager(SlowLists(store, later=later), retention=timedelta(hours=1))
            if later == 0:
                for way in WAYS:
                    for mark in "ab":
                        await manager.run(way, mark)
            await manager.core.records.sweep()
            assert len(await manager.log()) == left, later
            assert len((await store.scan(OUTCOME, GOVERNOR)).documents) == outcomes, later
        assert await self.marks(self.persister(store)) == ["a", "b"]
        with raises(ConfigurationError):
            self.manager(store, retention=timedelta(minutes=59))

    @case
    async def test_a_manager_in_use_sweeps_by_itself(self) -> None:
        store = self.open()
        await self.manager(store).run(put_note, "a", 1)
        old = SlowLists(store, later=30 * DAY)
        late = self.faulty(old)
        manager = self.manager(late)
        await manager.run(put_note, "a", 2)
        assert len(await manager.log()) == 2
        await late.runtime.sleep(3700)
        await manager.run(put_note, "a", 3)
        assert len(await manager.log()) == 0, "all are a month old for whoever sweeps"


class FenceCases(TransactionSuite):
    """A transaction under a lock is refused once the lock has moved on."""

    async def lock(self, store: Store, client: str = "me", resource: str = "r") -> tuple[Locking, DistributedLock]:
        locking = Locking(store, GOVERNOR)
        lock = await locking.acquire(resource, client, ttl=600, wait=0, purpose=None, reentrant=False)
        return locking, lock

    @case
    async def test_a_held_lock_lets_it_pass(self) -> None:
        store = self.open()
        locking, lock = await self.lock(store)
        _, second = await self.lock(store, resource="s")
        manager = self.manager(store)
        assert await manager.run(put_note, "a", 1, fence=lock) == 1
        await locking.extend(lock)
        assert await manager.run(add_and_note, "b", fence=[lock, second.fence, lock]) == 1
        assert await manager.run(get_note, "a", fence=lock.fence) == 1

    @case
    async def test_a_lock_that_was_lost_stops_it(self) -> None:
        store = self.open()
        locking, lock = await self.lock(store)
        _, held = await self.lock(store, resource="held")
        await locking.break_lock("r")
        before = await self.written(store)
        for operation, args in ((put_note, ("a", 1)), (add_and_note, ("b",)), (get_note, ("a",))):
            runs = Sequence(self.nothing)

            async def counted(tx: Tx, runs: Sequence, operation: Any, args: Any) -> Any:
                await runs.here()
                return await operation(tx, *args)

            with raises(LeaseLostError) as caught:
                await self.manager(store).run(counted, runs, operation, args, fence=[held, lock])
            assert caught.error.resource == "r"
            assert runs.attempts == 1, "no retry gives the lock back"
        assert await self.written(store) == before
        assert {record.status.name for record in await self.manager(store).log()} == {"FAILED"}

    async def nothing(self) -> None:
        """Nothing."""

    @case
    async def test_a_lock_that_moves_on_meanwhile_stops_it(self) -> None:
        store = self.open()
        locking, lock = await self.lock(store)

        async def operation(tx: Tx) -> None:
            value = await get_note(tx, "n")
            await locking.break_lock("r")
            await self.lock(store, "other")
            await tx.put_document(NOTES, "n", [value])

        with raises(LeaseLostError):
            await self.manager(store).run(operation, fence=lock)
        assert await self.notes(store) == {}

    @case
    async def test_a_command_that_was_done_is_done_though_its_lock_is_lost(self) -> None:
        store = self.open()
        for way in WAYS:
            locking, lock = await self.lock(store, way.__name__)
            first = await self.manager(store).run(way, "a", fence=lock, key=way.__name__)
            late = self.faulty(store, LOST_ANSWER, *NEVER_ANSWERED)
            await self.unknown(self.manager(late).run(way, "b", fence=lock, key=f"{way.__name__}2"))
            await locking.break_lock("r")
            for manager in (self.manager(store), self.manager(store)):
                assert await manager.run(way, "a", fence=lock, key=way.__name__) == first
                assert await manager.run(way, "b", fence=lock, key=f"{way.__name__}2") == first + 1

    @case
    async def test_a_command_that_another_did_meanwhile_is_done_though_the_lock_is_lost(self) -> None:
        store = self.open()
        other = self.manager(store)
        locking, lock = await self.lock(store)
        happening = Sequence(partial(other.meanwhile, note_twice, "a", key="k"))
        faulty = self.faulty(store)

        async def lose(_batch: object) -> None:
            if happening.attempts == 0:
                await happening.here()
                await locking.break_lock("r")

        faulty.before_commit = lose
        assert await self.manager(faulty).run(note_twice, "a", fence=lock, key="k") == 1
        assert (await self.notes(store))["n"] == 1

    @case
    async def test_fences_must_be_of_the_governor(self) -> None:
        store = self.open()
        other = Locking(store, "elsewhere")
        lock = await other.acquire("r", "me", ttl=60, wait=0, purpose=None, reentrant=False)
        with raises(ConfigurationError):
            await self.manager(store).run(put_note, "a", 1, fence=lock)
        with raises(InvalidInputError):
            await self.manager(store).run(put_note, "a", 1, fence="1-1")  # type: ignore[arg-type]


class EffectCases(TransactionSuite):
    """Effects: written with the commit, delivered at least once, always under the same key."""

    async def effect(self, store: Store, *payloads: Any, name: str = "mail", key: str | None = None) -> None:
        async def operation(tx: Tx) -> None:
            for payload in payloads:
                tx.on_commit(name, payload, key=key)

        await self.manager(store).meanwhile(operation)

    def dispatching(self, store: Store, attempts: int = 3) -> Dispatching:
        return Dispatching(store, GOVERNOR, attempts)

    @case
    async def test_effects_are_part_of_the_commit(self) -> None:
        store = self.open()
        faulty = self.faulty(store)

        async def operation(tx: Tx, fails: bool) -> None:
            await tx.put_document(NOTES, "a", 1)
            tx.on_commit("mail", {"n": 1})
            tx.on_commit("wire", [2], key="mine")
            if fails:
                raise ZeroDivisionError

        with raises(ZeroDivisionError):
            await self.manager(faulty).run(operation, True)
        assert await self.dispatching(store).outbox.waiting() == {"waiting": 0, "parked": 0}
        sent = len(faulty.sent)
        await self.manager(faulty).run(operation, False)
        assert len(faulty.sent) == sent + 1
        assert [op.key.kind for op in faulty.sent[-1].operations].count(OUTBOX) == 2
        assert await self.dispatching(store).outbox.waiting() == {"waiting": 2, "parked": 0}
        got = Inbox()
        assert await self.dispatching(store).deliver(got.take) == DeliveryReport(delivered=2)
        assert [(e.name, e.payload, e.attempts) for e in got.effects] == [("mail", {"n": 1}, 0), ("wire", [2], 0)]
        assert got.effects[1].key == "mine"
        assert got.effects[0].key.startswith(faulty.sent[-1].token)
        assert await self.dispatching(store).deliver(got.take) == DeliveryReport()
        assert await self.dispatching(store).outbox.waiting() == {"waiting": 0, "parked": 0}

    @case
    async def test_a_transaction_that_ran_twice_has_its_effects_once(self) -> None:
        store = self.open()
        other = self.manager(store)
        happening = Sequence(partial(other.meanwhile, count_up, "n"))

        async def operation(tx: Tx) -> None:
            tx.on_commit("mail", await get_note(tx, "n"))
            await happening.here()

        await self.manager(self.faulty(store, LOST_ANSWER, LOST_ANSWER)).run(operation)
        got = Inbox()
        await self.dispatching(store).deliver(got.take)
        assert [effect.payload for effect in got.effects] == [1] or happening.attempts == 1
        assert len(got.effects) == 1

    @case
    async def test_they_come_in_order_and_over_pages(self) -> None:
        store = self.open()
        for number in range(3):
            await self.effect(store, *range(number * 20, number * 20 + 20))
        got = Inbox()
        assert (await self.dispatching(store).deliver(got.take)).delivered == 60
        assert [effect.payload for effect in got.effects] == list(range(60))
        assert len({effect.key for effect in got.effects}) == 60

    @case
    async def test_a_handler_that_fails_is_tried_again_and_parked_at_last(self) -> None:
        store = self.open()
        await self.effect(store, "bad", "good")
        got = Inbox(fails={"bad"})
        dispatching = self.dispatching(store, attempts=3)
        assert await dispatching.deliver(got.take) == DeliveryReport(delivered=1, failed=1)
        assert await dispatching.deliver(got.take) == DeliveryReport(failed=1)
        assert await self.dispatching(store, attempts=3).deliver(got.take) == DeliveryReport(failed=1, parked=1)
        assert await dispatching.deliver(got.take) == DeliveryReport()
        bad = [effect for effect in got.effects if effect.payload == "bad"]
        assert [effect.attempts for effect in bad] == [0, 1, 2]
        assert len({effect.key for effect in bad}) == 1, "each time the same key"
        assert await dispatching.outbox.waiting() == {"waiting": 0, "parked": 1}
        for attempts in (0, -1):
            with raises(InvalidInputError):
                self.dispatching(store, attempts=attempts)

    @case
    async def test_a_dispatcher_that_dies_in_between_has_them_delivered_again(self) -> None:
        store = self.open()
        await self.effect(store, 1, 2)
        got = Inbox(dies=1)
        with raises(Died):
            await self.dispatching(store).deliver(got.take)
        assert await self.dispatching(store).deliver(got.take) == DeliveryReport(delivered=2)
        assert [effect.payload for effect in got.effects] == [1, 1, 2]
        assert got.effects[0] == got.effects[1]

    @case
    async def test_one_dispatcher_works_at_a_time(self) -> None:
        store = self.open()
        await self.effect(store, 1)
        dispatching = self.dispatching(store)
        reports: list[DeliveryReport] = []
        got = Inbox()

        async def take(effect: Effect) -> None:
            await got.take(effect)
            reports.append(await self.dispatching(store).deliver(got.take))
            reports.append(await dispatching.deliver(got.take))

        assert await dispatching.deliver(take) == DeliveryReport(delivered=1)
        assert reports == [DeliveryReport(), DeliveryReport()], "two delivered at the same time"
        assert len(got.effects) == 1

    @case
    async def test_one_that_lost_its_turn_stops(self) -> None:
        store = self.open()
        await self.effect(store, 1, 2)
        got = Inbox()

        async def take(effect: Effect) -> None:
            await got.take(effect)
            await Locking(store, GOVERNOR).break_lock(OUTBOX_LOCK)

        with raises(LeaseLostError):
            await self.dispatching(store).deliver(take)
        assert len(got.effects) == 1
        assert (await self.dispatching(store).deliver(got.take)).delivered == 2
        assert [effect.payload for effect in got.effects] == [1, 1, 2]

    @case
    async def test_missing_answers_of_a_dispatcher_lose_nothing(self) -> None:
        store = self.open()
        await self.effect(store, *range(5))
        got = Inbox(fails={2})
        for faults in ((LOST_ANSWER,) * 3, (LOST_REQUEST,) * 3, (LOST_ANSWER, LOST_REQUEST) * 3):
            faulty = self.faulty(store)
            started = on_call(2, partial(self._then, faulty, faults))
            faulty.before_commit = started
            try:
                await self.dispatching(faulty, attempts=10).deliver(got.take)
            except LeaseLostError:
                pass  # an answer was lost, and what it would have said could not be told from a lost turn
        await self.dispatching(store, attempts=10).deliver(got.take)
        assert {effect.payload for effect in got.effects} == set(range(5))
        assert await self.dispatching(store).outbox.waiting() == {"waiting": 1, "parked": 0}
        keys = {(effect.payload, effect.key) for effect in got.effects}
        assert len(keys) == 5, "an effect came under two keys"

    async def _then(self, faulty: Any, faults: Any) -> None:
        faulty.then(*faults)

    @case
    async def test_effects_that_come_meanwhile_are_not_lost(self) -> None:
        store = self.open()
        await self.effect(store, 1)
        got = Inbox()

        async def take(effect: Effect) -> None:
            await got.take(effect)
            if effect.payload == 1:
                await self.effect(store, 2)

        dispatching = self.dispatching(store)
        await dispatching.deliver(take)
        await dispatching.deliver(take)
        assert [effect.payload for effect in got.effects] == [1, 2]

    @case
    async def test_a_keyed_command_has_its_effects_once(self) -> None:
        store = self.open()
        for _ in range(3):
            await self.manager(store).run(note_twice, "a", key="k")
        assert (await self.dispatching(store).outbox.waiting())["waiting"] == 1
        document = (await store.scan(OUTBOX, GOVERNOR)).documents[0]
        assert await exists(store, Key(OUTBOX, GOVERNOR, document.key.id))


class Died(BaseException):
    """What a kill does to a dispatcher, as far as that can be had without one."""


class Inbox:
    """A handler that notes what it gets."""

    def __init__(self, fails: set[Any] | None = None, dies: int = 0) -> None:
        self.effects: list[Effect] = []
        self._fails = fails or set[Any]()
        self._dies = dies

    async def take(self, effect: Effect) -> None:
        self.effects.append(effect)
        if len(self.effects) <= self._dies:
            raise Died
        if any(effect.payload == payload for payload in self._fails):
            raise ZeroDivisionError(effect.payload)


Handler = Callable[[Effect], Awaitable[None]]
