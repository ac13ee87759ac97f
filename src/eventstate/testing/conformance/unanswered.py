"""Transactions whose answer is missing, and those that are asked for again: each happens once or not at all."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from eventstate.core.retrying import RetryPolicy
from eventstate.errors import (
    CommitUnknownError,
    IdempotencyMismatchError,
    InvalidInputError,
    StoreUnavailableError,
    TokenExpiredError,
    TransactionConflictError,
)
from eventstate.testing.conformance.doubt import (
    DELAYED,
    LOST_ANSWER,
    LOST_REQUEST,
    NEVER_ANSWERED,
    UNAVAILABLE,
    ignoring,
)
from eventstate.testing.conformance.persisters import GOVERNOR, TALLIES, Added
from eventstate.testing.conformance.suite import Committed, Key, case, exists, raises
from eventstate.testing.conformance.undertaking import (
    NOTES,
    OUTCOME,
    Fault,
    Manager,
    Sequence,
    TransactionSuite,
    Tx,
    add_and_note,
    count_up,
    get_note,
    put_note,
)
from eventstate.testing.faults import on_call

WEEK: Final = 7 * 86_400_000_000
CANCELLED: Final = (Fault.CANCELLED_BEFORE, Fault.CANCELLED_AFTER, Fault.CANCELLED_DELAYED)
ONCE: Final = RetryPolicy(attempts=1)


async def note_twice(tx: Tx, mark: str) -> int:
    """Documents alone: a counter, and a note of the command."""
    value = await count_up(tx, "n")
    await tx.put_document(NOTES, mark, value)
    tx.on_commit("mail", mark)
    return value


WAYS: Final = (note_twice, add_and_note)
"""A batch that is proven by its outcome document, and one that is proven by its entry."""


class DoubtCases(TransactionSuite):
    """Lost answers, lost requests, late copies: documents alone and with events."""

    async def times(self, manager: Manager, mark: str) -> int:
        """How often a command has been carried out."""
        found = await self.notes(manager.store)
        events = 0
        if await self.persister(manager.store).exists(TALLIES, "1"):
            events = (await self.marks(self.persister(manager.store))).count(mark)
        effects = [effect for effect in await self.effects(manager.store) if effect == mark]
        return max(int(mark in found), events, len(effects))

    async def effects(self, store: Any) -> list[Any]:
        import orjson

        return [orjson.loads(document.body)["payload"] for document in (await store.scan("outbox", GOVERNOR)).documents]

    @case
    async def test_missing_answers_are_settled(self) -> None:
        store = self.open()
        direct = self.manager(store)
        number = 0
        for way in WAYS:
            for faults in (
                (LOST_ANSWER,),
                (LOST_ANSWER,) * 5,
                (LOST_REQUEST,),
                (LOST_REQUEST, LOST_ANSWER, LOST_REQUEST),
                (DELAYED,),
                (DELAYED, LOST_ANSWER),
                (UNAVAILABLE, LOST_ANSWER),
                (LOST_ANSWER, UNAVAILABLE, UNAVAILABLE),
            ):
                number += 1
                late = self.faulty(store, *faults)
                await self.manager(late).run(way, str(number))
                await self.refuse_late_copies(late)
                assert await self.times(direct, str(number)) == 1, (way.__name__, faults)
        half = number // 2
        assert (await self.notes(store))["n"] == half
        assert await self.marks(self.persister(store)) == [str(n) for n in range(half + 1, number + 1)]
        await self.consistent(self.persister(store))

    @case
    async def test_a_lost_answer_is_found_though_others_moved_on(self) -> None:
        store = self.open()
        other = self.manager(store)
        for way in WAYS:
            faulty = self.faulty(store, LOST_ANSWER)
            faulty.before_commit = on_call(2, partial(ignoring, partial(other.run, way, "theirs")))
            first = await self.manager(faulty).run(way, "mine")
            assert first == await other.run(get_note, "mine")
            assert await other.run(get_note, "theirs") == first + 1

    @case
    async def test_a_resend_is_the_same_batch(self) -> None:
        store = self.open()
        for way in WAYS:
            faulty = self.faulty(store, LOST_REQUEST, LOST_REQUEST, LOST_ANSWER)
            await self.manager(faulty).run(way, "a")
            copies = [batch for batch in faulty.sent if len(batch.operations) > 1]
            assert len(copies) == 4
            assert all(batch == copies[0] for batch in copies), "a resend has other bytes or another token"

    @case
    async def test_a_lost_request_that_others_overtook_runs_again(self) -> None:
        """The copy that is still under way must not land beside the new attempt."""
        store = self.open()
        other = self.manager(store)
        for way in WAYS:
            late = self.faulty(store, DELAYED)
            late.before_commit = on_call(2, partial(ignoring, partial(other.run, way, "theirs")))
            await self.manager(late).run(way, "mine")
            await self.refuse_late_copies(late)
            assert await self.times(other, "mine") == 1
        assert await self.marks(self.persister(store)) == ["theirs", "mine"]
        assert (await self.notes(store))["n"] == 2

    @case
    async def test_reads_that_become_true_again_revive_nothing(self) -> None:
        """Refused since a document that was only read had changed; then it is as before, and the late copy comes."""
        store = self.open()
        other = self.manager(store)

        async def read_and_write(tx: Tx, way: Any, mark: str) -> None:
            await get_note(tx, "switch")
            await way(tx, mark)

        async def on_and_off(tx: Tx, value: Any) -> None:
            if value is None:
                await tx.delete_document(NOTES, "switch")
            else:
                await tx.put_document(NOTES, "switch", value)

        for way in WAYS:
            late = self.faulty(store, DELAYED)
            late.before_commit = on_call(2, partial(other.run, on_and_off, 1))
            with raises(TransactionConflictError):
                await self.manager(late).run(read_and_write, way, "mine", retry=ONCE)
            await other.run(on_and_off, None)
            await self.refuse_late_copies(late)
            assert await self.times(other, "mine") == 0

    @case
    async def test_an_unknown_outcome_has_a_token_to_go_on_with(self) -> None:
        store = self.open()
        for way in WAYS:
            for faults, landed in (
                ((LOST_ANSWER, *NEVER_ANSWERED), True),
                (NEVER_ANSWERED, False),
                ((DELAYED, *NEVER_ANSWERED), False),
            ):
                mark = f"{way.__name__} {landed} {len(faults)}"
                late = self.faulty(store, *faults)
                manager = self.manager(late)
                token = await self.unknown(manager.run(way, mark))
                late.then()
                other = self.manager(store)
                assert await self.times(other, mark) == landed
                runs = Sequence(partial(ignoring, self.runtime_pause))

                async def again(tx: Tx, mark: str, runs: Sequence, way: Any) -> Any:
                    await runs.here()
                    return await way(tx, mark)

                result = await other.run(again, mark, runs, way, token=token)
                assert runs.attempts == (0 if landed else 1)
                assert result == await other.run(get_note, mark), "the result is that of the run that happened"
                await self.refuse_late_copies(late)
                assert await self.times(other, mark) == 1
                for someone in (manager, self.manager(store)):
                    assert await someone.run(again, mark, runs, way, token=token) == result
                assert runs.attempts == (0 if landed else 1), "it was resumed twice"
                assert await self.times(other, mark) == 1
        assert (await self.notes(store))["n"] == 3

    async def runtime_pause(self) -> None:
        """Nothing."""

    @case
    async def test_a_token_that_landed_late_is_found(self) -> None:
        store = self.open()
        for way in WAYS:
            late = self.faulty(store, DELAYED, *NEVER_ANSWERED)
            token = await self.unknown(self.manager(late).run(way, "mine"))
            assert isinstance(await late.deliver(), Committed)
            late.then()
            result = await self.manager(store).run(way, "mine", token=token)
            assert result == await self.manager(store).run(get_note, "mine")
        assert (await self.notes(store))["n"] == 1
        assert await self.marks(self.persister(store)) == ["mine"]

    @case
    async def test_a_token_that_stays_unknown_is_raised_again(self) -> None:
        store = self.open()
        late = self.faulty(store, LOST_ANSWER, *NEVER_ANSWERED)
        manager = self.manager(late)
        token = await self.unknown(manager.run(note_twice, "mine"))
        late.then(*NEVER_ANSWERED)
        with raises(CommitUnknownError) as caught:
            await manager.run(note_twice, "mine", token=token)
        assert caught.error.token == token
        late.then()
        assert await manager.run(note_twice, "mine", token=token) == 1
        assert await self.times(manager, "mine") == 1

    @case
    async def test_tokens_that_can_not_be_settled_are_refused(self) -> None:
        store = self.open()
        manager = self.manager(store)
        for token in ("", "es1:", "nonsense", "es1:bm90aGluZw=="):
            with raises(InvalidInputError):
                await manager.run(put_note, "a", 1, token=token)
        late = self.faulty(store, LOST_ANSWER, *NEVER_ANSWERED)
        token = await self.unknown(self.manager(late).run(note_twice, "mine"))
        with raises(InvalidInputError):
            await self.manager(store, governor="other").run(note_twice, "mine", token=token)
        late.then()
        late.runtime.shift = WEEK + 60_000_000  # type: ignore[attr-defined]
        with raises(TokenExpiredError):
            await self.manager(late).run(note_twice, "mine", token=token)
        assert await self.notes(store) == {"n": 1, "mine": 1}
        late.runtime.shift = WEEK - 60_000_000  # type: ignore[attr-defined]
        assert await self.manager(late).run(note_twice, "mine", token=token) == 1

    @case
    async def test_documents_alone_leave_an_outcome_and_events_need_none(self) -> None:
        store = self.open()
        faulty = self.faulty(store)
        manager = self.manager(faulty)
        await manager.run(note_twice, "a")
        assert await exists(store, Key(OUTCOME, GOVERNOR, faulty.sent[-1].token))
        await manager.run(add_and_note, "b")
        assert not await exists(store, Key(OUTCOME, GOVERNOR, faulty.sent[-1].token))
        sent = len(faulty.sent)
        await manager.run(get_note, "a")
        assert len(faulty.sent) == sent, "reading one document needs no commit"

    @case
    async def test_unavailable_is_only_said_of_what_is_not_written(self) -> None:
        store = self.open()
        for way in WAYS:
            faulty = self.faulty(store, *(UNAVAILABLE,) * 1000)
            with raises(StoreUnavailableError):
                await self.manager(faulty).run(way, "a")
            faulty.then(LOST_ANSWER, *(UNAVAILABLE,) * 1000)
            await self.unknown(self.manager(faulty).run(way, "b"))
            assert await self.times(self.manager(store), "a") == 0
            assert await self.times(self.manager(store), "b") == 1

    @case
    async def test_checks_of_what_was_read_survive_missing_answers(self) -> None:
        """Reading alone, where something was absent, is confirmed by a commit of checks: it may be sent again."""
        store = self.open()
        faulty = self.faulty(store, LOST_ANSWER, LOST_REQUEST, LOST_ANSWER)

        async def read(tx: Tx) -> list[Any]:
            return [await get_note(tx, id) for id in "ab"]

        assert await self.manager(faulty).run(read) == [None, None]
        assert len(faulty.sent) == 4


class KeyedCases(TransactionSuite):
    """An idempotency key names a command: it has one effect and one result."""

    @case
    async def test_a_command_is_carried_out_once(self) -> None:
        store = self.open()
        for way in WAYS:
            runs = Sequence(partial(ignoring, self.nothing))

            async def command(tx: Tx, name: str, *, runs: Sequence = runs, way: Any = way) -> Any:
                await runs.here()
                return {"value": await way(tx, "mark"), "name": name}

            first = await self.manager(store).run(command, "x", key=way.__name__)
            for _ in range(2):
                assert await self.manager(store).run(command, "x", key=way.__name__) == first
            assert runs.attempts == 1, "it ran again"
        assert (await self.notes(store))["n"] == 1
        assert await self.marks(self.persister(store)) == ["mark"]

    async def nothing(self) -> None:
        """Nothing."""

    @case
    async def test_a_key_is_for_one_command(self) -> None:
        store = self.open()
        manager = self.manager(store)
        await manager.run(put_note, "a", 1, key="k")
        for operation, args in ((put_note, ("a", 2)), (get_note, ("a",))):
            with raises(IdempotencyMismatchError):
                await manager.run(operation, *args, key="k")
        with raises(InvalidInputError):
            await manager.run(put_note, "a", object(), key="other")
        with raises(InvalidInputError):
            await manager.run(put_note, "a", 1, key="")
        assert await self.notes(store) == {"a": 1}

    @case
    async def test_the_first_result_stands_whatever_the_operation_would_do_now(self) -> None:
        """It would fail now, or only read now, or do something else: none of it matters."""
        store = self.open()

        async def once(tx: Tx) -> str:
            if await get_note(tx, "done"):
                return "it was done before"
            await tx.put_document(NOTES, "done", True)
            return "done now"

        async def pay(tx: Tx, amount: int) -> int:
            balance = await get_note(tx, "balance")
            if balance < amount:
                raise ZeroDivisionError("not enough")
            await tx.put_document(NOTES, "balance", balance - amount)
            return balance - amount

        await self.note(store, balance=10)
        for _ in range(2):
            assert await self.manager(store).run(once, key="once") == "done now"
            assert await self.manager(store).run(pay, 7, key="pay") == 3

    @case
    async def test_a_command_that_decides_to_write_nothing_is_one_too(self) -> None:
        store = self.open()

        async def decide(tx: Tx) -> bool:
            if await get_note(tx, "open") is None:
                return False
            await tx.put_document(NOTES, "taken", True)
            return True

        assert await self.manager(store).run(decide, key="k") is False
        await self.note(store, open=1)
        assert await self.manager(store).run(decide, key="k") is False, "the same command came to something else"
        assert await self.notes(store) == {"open": 1}

    @case
    async def test_results_come_back_as_json_or_not_at_all(self) -> None:
        store = self.open()

        async def returns(tx: Tx, what: str) -> Any:
            await tx.put_document(NOTES, what, 1)
            return {
                "tuple": (1, {"a": None}),
                "none": None,
                "long": "x" * 5000,
                "state": object(),
                "nan": float("nan"),
                "unicode": "ü",
            }[what]

        expected = {"tuple": [1, {"a": None}], "none": None, "long": None, "state": None, "nan": None, "unicode": "ü"}
        for what, result in expected.items():
            first = await self.manager(store).run(returns, what, key=what)
            assert type(first) is not list, "the first caller gets what the operation returned"
            assert await self.manager(store).run(returns, what, key=what) == result

    @case
    async def test_an_unknown_command_is_found_out_by_its_key(self) -> None:
        store = self.open()
        for way in WAYS:
            for faults, landed in (
                ((LOST_ANSWER, *NEVER_ANSWERED), True),
                (NEVER_ANSWERED, False),
                ((DELAYED, *NEVER_ANSWERED), False),
            ):
                mark = key = f"{way.__name__} {landed} {len(faults)}"
                late = self.faulty(store, *faults)
                await self.unknown(self.manager(late).run(way, mark, key=key))
                late.then()
                result = await self.manager(store).run(way, mark, key=key)
                await self.refuse_late_copies(late)
                assert result == await self.manager(store).run(get_note, mark)
                assert await self.manager(store).run(way, mark, key=key) == result
        assert (await self.notes(store))["n"] == 3
        assert len(await self.marks(self.persister(store))) == 3

    @case
    async def test_a_cancelled_command_is_found_out_by_its_key(self) -> None:
        store = self.open()
        for way in WAYS:
            for fault in CANCELLED:
                mark = key = f"{way.__name__} {fault.name}"
                late = self.faulty(store, fault)
                manager = self.manager(late)
                with raises(asyncio.CancelledError):
                    await manager.run(way, mark, key=key)
                result = await manager.run(way, mark, key=key)
                assert result == await self.manager(store).run(get_note, mark)
                while late.held:
                    await late.deliver()
                assert await self.manager(store).run(way, mark, key=key) == result
        assert (await self.notes(store))["n"] == len(CANCELLED)
        assert len(await self.marks(self.persister(store))) == len(CANCELLED)

    @case
    async def test_a_copy_of_a_cancelled_command_that_lands_first_is_the_command(self) -> None:
        store = self.open()
        for way in WAYS:
            late = self.faulty(store, Fault.CANCELLED_DELAYED)
            manager = self.manager(late)
            with raises(asyncio.CancelledError):
                await manager.run(way, "mine", key=way.__name__)
            late.before_commit = on_call(1, partial(ignoring, late.deliver))
            assert await manager.run(way, "mine", key=way.__name__) == 1
        assert (await self.notes(store))["n"] == 1
        assert await self.marks(self.persister(store)) == ["mine"]

    @case
    async def test_of_many_who_give_one_command_one_carries_it_out(self) -> None:
        store = self.open()
        for number, way in enumerate(WAYS):
            managers = [self.manager(store) for _ in range(self.writers)]
            results = await self.together([partial(m.run, way, "mine", key=str(number)) for m in managers])
            assert results == [1] * self.writers
        assert (await self.notes(store))["n"] == 1
        assert await self.marks(self.persister(store)) == ["mine"]

    @case
    async def test_a_token_and_a_key_give_the_same_result_without_records(self) -> None:
        store = self.open()
        late = self.faulty(store, LOST_ANSWER, *NEVER_ANSWERED)
        manager = self.manager(late, keep_records=False)
        token = await self.unknown(manager.run(note_twice, "mine", key="k"))
        late.then()
        assert await manager.run(note_twice, "mine", key="k", token=token) == 1
        assert await manager.run(note_twice, "mine", token=token) is None, "without records only that it is done"
        assert (await self.notes(store))["n"] == 1

    @case
    async def test_keys_of_transactions_and_of_appends_are_of_one_kind(self) -> None:
        """One key can't stand for an append and for a transaction."""
        store = self.open()
        await self.persister(store).append(TALLIES, "1", Added("a"), expected=0, idempotency_key="k")
        with raises(IdempotencyMismatchError):
            await self.manager(store).run(add_and_note, "b", key="k")
        await self.manager(store).run(add_and_note, "c", key="t")
        with raises(IdempotencyMismatchError):
            await self.persister(store).append(TALLIES, "1", Added("d"), expected=2, idempotency_key="t")
        assert await self.marks(self.persister(store)) == ["a", "c"]
