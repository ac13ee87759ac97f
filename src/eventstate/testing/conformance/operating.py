"""What an operation may do, and what becomes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from eventstate.core.documents import DOCUMENT, HEAD, Check, Put, Require
from eventstate.errors import (
    EncodingError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidInputError,
    NestedTransactionError,
    NotRepeatableError,
    StateDeletedError,
    StateNotFoundError,
    StoreUnavailableError,
    TransactionEndedError,
    VersionConflictError,
)
from eventstate.testing.conformance.persisters import DOORS, TALLIES, Added, Doubled, Tally, Turned
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.conformance.undertaking import (
    NOTES,
    ORDERS,
    TransactionSuite,
    Tx,
    add,
    count_up,
    get_note,
    order,
    put_note,
)


class OperationCases(TransactionSuite):
    """One operation: what it may do, and what becomes of it."""

    @case
    async def test_all_that_is_written_is_one_commit(self) -> None:
        store = self.open()
        faulty = self.faulty(store)
        await self.note(store, old=1, gone=1)

        async def operation(tx: Tx) -> list[Any]:
            seen = [await tx.get_document(NOTES, id) for id in ("old", "gone", "none")]
            await tx.put_document(NOTES, "new", {"a": [1, None]})
            await tx.delete_document(NOTES, "gone")
            await tx.append(TALLIES, "1", Added("a"), Added("b", 4))
            await tx.append(TALLIES, "2", Doubled("c"))
            await tx.save_state("plain", {"x": 1})
            tx.on_commit("mail", {"to": "kim"})
            return seen

        sent = len(faulty.sent)
        assert await self.manager(faulty).run(operation) == [1, 1, None]
        assert len(faulty.sent) == sent + 1
        assert await self.notes(store) == {"old": 1, "new": {"a": [1, None]}}
        persister = self.persister(store)
        assert (await persister.load(TALLIES, "1")).data.total == 5
        assert (await persister.load("plain")).data == {"x": 1}
        assert await self.marks(persister, "1") == ["a", "b"]
        assert await self.marks(persister, "2") == ["c"]
        await self.consistent(persister)

    @case
    async def test_the_preconditions_are_the_whole_read_set(self) -> None:
        """Read and written, read only, absent, written unseen: each has the one that belongs to it."""
        store = self.open()
        faulty = self.faulty(store)
        await self.note(store, read=1, both=1, blind=1)
        await self.manager(store).run(add, "a")

        async def operation(tx: Tx) -> None:
            for id in ("read", "both", "absent", "made"):
                await tx.get_document(NOTES, id)
            await tx.load(TALLIES, "1")
            assert await tx.find(TALLIES, "2") is None
            for id in ("both", "made", "blind"):
                await tx.put_document(NOTES, id, 2)

        await self.manager(faulty).run(operation)
        by_id = {op.key.id: op for op in faulty.sent[-1].operations if op.key.kind in (DOCUMENT, HEAD)}
        assert all(isinstance(by_id[id], Check) for id in ("notes/read", "notes/absent", "tally-1", "tally-2"))
        assert all(isinstance(by_id[f"notes/{id}"], Put) for id in ("both", "made", "blind"))
        assert {id for id, op in by_id.items() if op.when is Require.ABSENT} == {
            "notes/absent",
            "notes/made",
            "tally-2",
        }
        assert {id for id, op in by_id.items() if op.when is Require.ANY} == {"notes/blind"}
        assert {id for id, op in by_id.items() if isinstance(op.when, str)} == {"notes/read", "notes/both", "tally-1"}

    @case
    async def test_own_writes_are_seen(self) -> None:
        store = self.open()
        manager = self.manager(store)
        await manager.run(order, "b", "stored")
        await manager.run(order, "c", "stored")

        async def documents(tx: Tx) -> None:
            assert await tx.get_document(ORDERS, "a") is None
            value = {"list": [1]}
            await tx.put_document(ORDERS, "a", value)
            value["list"].append(2)
            got = await tx.get_document(ORDERS, "a")
            assert got == {"list": [1]}, "it holds what was put, whatever becomes of the object"
            got["list"].clear()
            assert await tx.get_document(ORDERS, "a") == {"list": [1]}
            await tx.delete_document(ORDERS, "b")
            assert await tx.get_document(ORDERS, "b") is None
            await tx.put_document(ORDERS, "c", None)
            assert await tx.list_documents(ORDERS) == [("a", {"list": [1]}), ("c", None)]
            assert await tx.list_documents(ORDERS, prefix="c") == [("c", None)]
            await tx.delete_document(ORDERS, "a")
            await tx.put_document(ORDERS, "b", "new")
            assert [id for id, _ in await tx.list_documents(ORDERS)] == ["b", "c"]

        async def states(tx: Tx) -> None:
            assert await tx.find(TALLIES, "1") is None
            first = await tx.append(TALLIES, "1", Added("a", 2), expected=0)
            assert (first.version, first.data.total) == (1, 2)
            assert (await tx.load(TALLIES, "1")).data.marks == ("a",)
            second = await tx.execute(TALLIES, "1", double_and_add)
            assert (second.version, second.data.total) == (3, 6)
            third = await tx.append("tally-1", Added("d"), expected=second)
            assert third.version == 4
            with raises(VersionConflictError):
                await tx.append(TALLIES, "1", Added("x"), expected=1)
            assert await tx.delete_state(TALLIES, "1") == 5
            assert await tx.find(TALLIES, "1") is None
            with raises(StateDeletedError):
                await tx.load(TALLIES, "1")
            saved = await tx.save_state("plain", {"n": 1}, changed_by="kim", reason="first")
            assert (saved.version, saved.metadata.changed_by) == (1, "kim")
            assert (await tx.update_state("plain", {"n": 2})).data == {"n": 2}
            with raises(StateNotFoundError):
                await tx.update_state("other", {"n": 2})

        await manager.run(documents)
        await manager.run(states)
        persister = self.persister(store)
        assert not await persister.exists(TALLIES, "1")
        assert [step.action for step in await persister.history(TALLIES, "1")][-1] == "$deleted"
        assert (await persister.load("plain")).data == {"n": 2}
        steps = await persister.history("plain")
        assert [(step.version, step.metadata.changed_by) for step in steps] == [(1, "kim"), (2, None)]
        await self.consistent(persister)

    @case
    async def test_a_deleted_state_is_begun_anew_by_name_only(self) -> None:
        store = self.open()
        manager = self.manager(store)
        await manager.run(add, "a")

        async def delete(tx: Tx) -> int:
            return await tx.delete_state(TALLIES, "1")

        async def reopen(tx: Tx) -> int:
            with raises(StateDeletedError):
                await tx.append(TALLIES, "1", Added("x"))
            state = await tx.append(TALLIES, "1", Added("b"), reopen=True)
            assert state.data.marks == ("b",)
            return (await tx.append(TALLIES, "1", Added("c"))).version

        async def delete_and_reopen(tx: Tx) -> None:
            await tx.delete_state(TALLIES, "1")
            await tx.append(TALLIES, "1", Added("x"), reopen=True)

        assert await manager.run(delete) == 2
        assert await manager.run(delete) == 2, "deleting again changes nothing"
        assert await manager.run(reopen) == 5
        with raises(InvalidInputError):
            await manager.run(delete_and_reopen)
        assert (await self.persister(store).load(TALLIES, "1")).data.marks == ("b", "c")
        await self.consistent(self.persister(store))

    @case
    async def test_what_the_operation_raises_passes_unchanged_and_nothing_is_written(self) -> None:
        store = self.open()
        await self.note(store, a=1, b=1)
        before = await self.written(store)
        problem = ZeroDivisionError("mine")

        async def fails(tx: Tx, read: int) -> None:
            for id in "ab"[:read]:
                await tx.get_document(NOTES, id)
            await tx.put_document(NOTES, "a", 2)
            await tx.append(TALLIES, "1", Added("x"))
            tx.on_commit("mail")
            raise problem

        for number in range(3):
            with raises(ZeroDivisionError) as caught:
                await self.manager(store).run(fails, number)
            assert caught.error is problem
            assert caught.error.__cause__ is None
        assert await self.written(store) == before

    @case
    async def test_errors_of_input_are_typed_and_write_nothing(self) -> None:
        store = self.open()
        manager = self.manager(store)
        before = await self.written(store)

        async def put(tx: Tx, collection: Any, id: Any, value: Any) -> None:
            await tx.put_document(NOTES, "good", 1)
            await tx.put_document(collection, id, value)

        for collection, id, value, kind in (
            ("a/b", "1", 1, InvalidIdError),
            ("a!", "1", 1, InvalidIdError),
            ("", "1", 1, InvalidIdError),
            ("a", "", 1, InvalidIdError),
            ("a", 7, 1, InvalidIdError),
            ("a", "1", float("nan"), EncodingError),
            ("a", "1", {1: 2}, EncodingError),
            ("a", "1", object(), EncodingError),
        ):
            with raises(kind):
                await manager.run(put, collection, id, value)

        async def turn_twice(tx: Tx) -> None:
            await tx.append(DOORS, "1", Turned("open"))
            await tx.append(DOORS, "1", Turned("open"))

        with raises(IllegalTransitionError):
            await manager.run(turn_twice)

        async def effect(tx: Tx, name: Any, payload: Any, key: Any) -> None:
            tx.on_commit(name, payload, key=key)

        for name, payload, key in (("", 1, None), ("mail", object(), None), ("mail", 1, "")):
            with raises(InvalidInputError):
                await manager.run(effect, name, payload, key)
        assert await self.written(store) == before

    @case
    async def test_an_error_that_the_operation_catches_leaves_nothing_behind(self) -> None:
        store = self.open()

        async def operation(tx: Tx) -> None:
            await tx.append(DOORS, "1", Turned("open"))
            with raises(IllegalTransitionError):
                await tx.append(DOORS, "1", Turned("closed"), Turned("closed"))
            with raises(EncodingError):
                await tx.put_document(NOTES, "a", float("inf"))
            await tx.put_document(NOTES, "b", 1)

        await self.manager(store).run(operation)
        assert (await self.persister(store).load(DOORS, "1")).version == 1
        assert await self.notes(store) == {"b": 1}

    @case
    async def test_a_transaction_in_another_is_refused(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(self.open(), governor="other")

        async def nested(tx: Tx, inner: Any) -> None:
            await tx.put_document(NOTES, "outer", 1)
            await inner.run(put_note, "inner", 1)

        for inner in (manager, other):
            with raises(NestedTransactionError):
                await manager.run(nested, inner)
        assert await self.notes(store) == {}
        await manager.run(put_note, "after", 1)
        assert await self.notes(store) == {"after": 1}

    @case
    async def test_a_transaction_that_has_ended_is_of_no_use(self) -> None:
        store = self.open()
        manager = self.manager(store)
        kept: list[Tx] = []

        def said(_tally: Any) -> Added:
            return Added("x")

        async def keeps(tx: Tx, fails: bool) -> None:
            kept.append(tx)
            await tx.put_document(NOTES, "a", 1)
            if fails:
                raise ZeroDivisionError

        await manager.run(keeps, False)
        with raises(ZeroDivisionError):
            await manager.run(keeps, True)
        uses: list[Callable[[Tx], Awaitable[Any]]] = [
            lambda tx: tx.get_document(NOTES, "a"),
            lambda tx: tx.put_document(NOTES, "a", 2),
            lambda tx: tx.delete_document(NOTES, "a"),
            lambda tx: tx.list_documents(ORDERS),
            lambda tx: tx.load(TALLIES, "1"),
            lambda tx: tx.find(TALLIES, "1"),
            lambda tx: tx.list_states(),
            lambda tx: tx.append(TALLIES, "1", Added("x")),
            lambda tx: tx.execute(TALLIES, "1", said),
            lambda tx: tx.save_state("plain", 1),
            lambda tx: tx.update_state("plain", 1),
            lambda tx: tx.delete_state("plain"),
        ]
        for tx in kept:
            for use in uses:
                with raises(TransactionEndedError):
                    await use(tx)
            with raises(TransactionEndedError):
                tx.on_commit("mail")
        assert await self.notes(store) == {"a": 1}

    @case
    async def test_an_operation_that_is_not_repeatable_is_told(self) -> None:
        store = self.open()
        manager = self.manager(store)
        runs: list[int] = []

        async def document(tx: Tx) -> None:
            runs.append(1)
            await tx.put_document(NOTES, "a", len(runs))

        async def event(tx: Tx) -> None:
            runs.append(1)
            await tx.append(TALLIES, "1", Added(str(len(runs))))

        async def effect(tx: Tx) -> None:
            runs.append(1)
            tx.on_commit("mail", len(runs))

        async def fails(tx: Tx) -> None:
            runs.append(1)
            await tx.put_document(NOTES, "a", 1)
            if len(runs) % 2 == 0:
                raise KeyError("second")

        for operation in (document, event, effect, fails):
            before = await self.written(store)
            runs.clear()
            with raises(NotRepeatableError):
                await manager.run(operation, check_repeatable=True)
            assert len(runs) == 2
            assert await self.written(store) == before

        async def repeatable(tx: Tx) -> Any:
            runs.append(1)
            await tx.list_documents(ORDERS)
            assert await tx.find(TALLIES, "none") is None
            value = await count_up(tx, "n")
            await tx.append(TALLIES, "1", Added(str(value)))
            tx.on_commit("mail", value)
            return value

        runs.clear()
        assert await manager.run(repeatable, check_repeatable=True) == 1
        assert len(runs) == 2
        assert await self.notes(store) == {"n": 1}
        assert await self.marks(self.persister(store)) == ["1"]

    @case
    async def test_others_do_not_make_an_operation_unrepeatable(self) -> None:
        """Both runs see the same, whatever is written between them: documents, lists, and states that come to be."""
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await other.run(order, "a")
        runs: list[int] = []

        async def operation(tx: Tx) -> None:
            runs.append(1)
            seen = [await tx.list_documents(ORDERS), await tx.find(TALLIES, "1") is None, await get_note(tx, "n")]
            await tx.put_document(NOTES, "seen", seen)
            if len(runs) == 1:
                await other.meanwhile(order, "b")
                await other.meanwhile(add, "x")
                await other.meanwhile(put_note, "n", 1)

        await manager.run(operation, check_repeatable=True)
        assert (await self.notes(store))["seen"] == [[["a", 1], ["b", 1]], False, 1]

    @case
    async def test_a_store_that_fails_in_the_second_run_is_not_taken_for_the_operation(self) -> None:
        store = self.open()
        faulty = self.faulty(store)
        runs: list[int] = []

        async def operation(tx: Tx) -> None:
            runs.append(1)
            await count_up(tx, "n")
            if len(runs) == 2:
                raise StoreUnavailableError(store=store.url, detail="just now")

        await self.manager(faulty).run(operation, check_repeatable=True)
        assert len(runs) == 3
        assert await self.notes(store) == {"n": 1}


def double_and_add(tally: Tally) -> list[Doubled | Added]:
    return [Doubled("b"), Added("c", tally.total)]
