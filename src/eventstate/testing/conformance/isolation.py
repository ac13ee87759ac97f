"""What an operation sees while others are at work, and what its commit is conditional on."""

from __future__ import annotations

from functools import partial
from typing import Any

from eventstate.core.documents import Delete, Put, Require
from eventstate.core.retrying import RetryPolicy
from eventstate.errors import (
    InvalidInputError,
    VersionConflictError,
)
from eventstate.testing.conformance.persisters import TALLIES, Added, head_key, stored
from eventstate.testing.conformance.suite import case, committed, raises
from eventstate.testing.conformance.undertaking import (
    NOTES,
    Sequence,
    TransactionSuite,
    Tx,
    add,
    get_note,
    put_note,
    put_notes,
)
from eventstate.testing.faults import FaultyStore, on_call


class IsolationCases(TransactionSuite):
    """What others do meanwhile is either before or after."""

    @case
    async def test_what_was_read_stays_until_the_operation_runs_again(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await self.note(store, a=1)
        await other.run(add, "first")
        happening = Sequence(partial(other.meanwhile, put_note, "a", 5))
        more = Sequence(partial(other.meanwhile, add, "second"))

        async def operation(tx: Tx) -> tuple[int, int]:
            before = await get_note(tx, "a"), (await tx.load(TALLIES, "1")).version
            await happening.here()
            await more.here()
            assert (await get_note(tx, "a"), (await tx.load(TALLIES, "1")).version) == before
            await tx.put_document(NOTES, "sum", sum(before))
            return before

        assert await manager.run(operation) == (5, 2)
        assert happening.attempts == 2
        assert await self.notes(store) == {"a": 5, "sum": 7}

    @case
    async def test_a_document_that_was_only_read_is_checked(self) -> None:
        """Write skew: each reads what the other writes."""
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await self.note(store, a=1, b=1)
        happening = Sequence(partial(other.meanwhile, put_note, "b", 0))

        async def leave(tx: Tx) -> bool:
            on_duty = sum([await get_note(tx, id) for id in "ab"])
            await happening.here()
            if on_duty > 1:
                await tx.put_document(NOTES, "a", 0)
            return on_duty > 1

        assert await manager.run(leave) is False
        assert await self.notes(store) == {"a": 1, "b": 0}

    @case
    async def test_a_state_that_was_only_read_is_checked(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await other.run(add, "a")
        happening = Sequence(partial(other.meanwhile, add, "b"))

        async def operation(tx: Tx) -> None:
            version = (await tx.load(TALLIES, "1")).version
            await happening.here()
            await tx.append(TALLIES, "copy", Added(str(version)))

        await manager.run(operation)
        assert happening.attempts == 2
        assert await self.marks(self.persister(store), "copy") == ["2"]

    @case
    async def test_what_was_absent_is_checked(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)

        async def operation(tx: Tx, happening: Sequence, id: str) -> tuple[bool, bool]:
            found = await get_note(tx, id) is not None, await tx.find(TALLIES, id) is not None
            await happening.here()
            await tx.put_document(NOTES, f"about-{id}", list(found))
            return found

        document = Sequence(partial(other.meanwhile, put_note, "d", 1))
        assert await manager.run(operation, document, "d") == (True, False)
        state = Sequence(partial(other.meanwhile, add, "x", "s"))
        assert await manager.run(operation, state, "s") == (False, True)
        persister = self.persister(store)
        event = Sequence(partial(persister.append, TALLIES, "p", Added("x"), expected=0))
        assert await manager.run(operation, event, "p") == (False, True)
        assert [document.attempts, state.attempts, event.attempts] == [2, 2, 2]

    @case
    async def test_what_came_and_went_is_as_if_it_had_never_been(self) -> None:
        """Absent at both ends; in between others saw it. The commit happens at its end."""
        store = self.open()
        manager, other = self.manager(store), self.manager(store)

        async def come_and_go() -> None:
            await other.meanwhile(put_notes, {"a": 1, "b": 1})
            await other.meanwhile(put_notes, {"a": None})

        happening = Sequence(come_and_go)

        async def operation(tx: Tx) -> list[Any]:
            first = await get_note(tx, "a")
            await happening.here()
            return [first, await get_note(tx, "b")]

        assert await manager.run(operation) == [None, 1]

    @case
    async def test_a_deletion_is_noticed_by_those_who_read_and_by_those_who_write(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        for write in (False, True):
            await self.note(store, a=1)
            happening = Sequence(partial(other.meanwhile, put_notes, {"a": None}))

            async def operation(tx: Tx, happening: Sequence, write: bool) -> Any:
                seen = await get_note(tx, "a")
                await happening.here()
                await tx.put_document(NOTES, "a" if write else "b", [seen])
                return seen

            assert await manager.run(operation, happening, write) is None
            assert happening.attempts == 2

    @case
    async def test_reads_of_a_transaction_that_writes_nothing_are_of_one_time(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)

        async def read(tx: Tx, happening: Sequence) -> list[Any]:
            first = await get_note(tx, "a")
            await happening.here()
            return [first, await get_note(tx, "b")]

        for before in ({"a": 1, "b": 1}, {"a": None, "b": 1}, {"a": 1, "b": None}):
            await other.run(put_notes, before)
            happening = Sequence(partial(other.meanwhile, put_notes, {"a": 2, "b": 2}))
            assert await manager.run(read, happening) == [2, 2]
            assert happening.attempts == 2
        quiet = Sequence(partial(other.meanwhile, put_note, "elsewhere", 1))
        assert await manager.run(read, quiet) == [2, 2]
        assert quiet.attempts == 1, "nothing that it read has changed"

    @case
    async def test_states_and_documents_read_together_are_of_one_time(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)

        async def both(tx: Tx, mark: str) -> None:
            version = (await tx.append(TALLIES, "1", Added(mark))).version
            await tx.put_document(NOTES, "version", version)

        await other.run(both, "a")
        happening = Sequence(partial(other.meanwhile, both, "b"))

        async def read(tx: Tx) -> list[int]:
            state = (await tx.load(TALLIES, "1")).version
            await happening.here()
            return [state, await get_note(tx, "version")]

        assert await manager.run(read) == [2, 2]

    @case
    async def test_an_error_from_torn_reads_is_not_shown(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)

        async def compare(tx: Tx, happening: Sequence) -> int:
            first = await get_note(tx, "a") or 0
            await happening.here()
            second = await get_note(tx, "b") or 0
            if first != second:
                raise ZeroDivisionError(f"{first} != {second}: never at one time")
            return first

        for before in ({"a": 1, "b": 1}, {"a": None, "b": None}):
            await other.run(put_notes, before)
            happening = Sequence(partial(other.meanwhile, put_notes, {"a": 7, "b": 7}))
            assert await manager.run(compare, happening) == 7
            assert happening.attempts == 2

    @case
    async def test_an_error_from_reads_that_hold_is_shown_at_once(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await self.note(store, a=1, b=2)
        runs = Sequence(partial(other.meanwhile, put_note, "c", 1))

        async def compare(tx: Tx) -> None:
            values = [await get_note(tx, id) for id in "ab"]
            await runs.here()
            if values != [3, 3]:
                raise ZeroDivisionError(values)

        with raises(ZeroDivisionError):
            await manager.run(compare)
        assert runs.attempts == 1

    @case
    async def test_own_expectations_are_judged_on_reads_that_hold(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await other.run(add, "a")
        runs = Sequence(partial(other.meanwhile, put_note, "elsewhere", 1))

        async def expects(tx: Tx, expected: int) -> int:
            await get_note(tx, "n")
            await runs.here()
            return (await tx.append(TALLIES, "1", Added("x"), expected=expected)).version

        with raises(VersionConflictError) as caught:
            await manager.run(expects, 0)
        assert (caught.error.expected, caught.error.actual) == (0, 1)
        assert runs.attempts == 1, "a mismatch of one's own is not tried again"

        async def note_and_add(tx: Tx) -> None:
            await tx.put_document(NOTES, "n", 2)
            await tx.append(TALLIES, "1", Added("b"))

        torn = Sequence(partial(other.meanwhile, note_and_add))

        async def expects_what_is_noted(tx: Tx) -> int:
            expected = await get_note(tx, "n")
            await torn.here()
            return (await tx.append(TALLIES, "1", Added("c"), expected=expected)).version

        await other.run(put_note, "n", 1)
        assert await manager.run(expects_what_is_noted) == 3
        assert torn.attempts == 2
        assert await self.marks(self.persister(store)) == ["a", "b", "c"]

    @case
    async def test_two_tasks_of_one_operation_see_the_same(self) -> None:
        """Both ask for one thing at the same time; others change it in between. Nothing of theirs gets lost."""
        store = self.open()
        faulty = FaultyStore(store)
        manager, other = self.manager(faulty), self.manager(store)
        await self.note(store, a=1)
        await other.run(add, "first")
        await manager.run(put_note, "known", 1)

        async def operation(tx: Tx) -> list[Any]:
            nested: list[Any] = []

            async def second() -> None:
                await other.meanwhile(put_note, "a", 2)
                nested.append(await get_note(tx, "a"))

            async def third() -> None:
                nested.append((await tx.append(TALLIES, "1", Added("inner"))).version)

            if tx.attempt == 1:
                faulty.before_get = on_call(1, second)
            value = await get_note(tx, "a")
            if tx.attempt == 1:
                faulty.before_get = on_call(1, third)
            version = (await tx.append(TALLIES, "1", Added("outer"))).version
            faulty.before_get = None
            await tx.put_document(NOTES, "seen", [value, version, *nested])
            if nested:
                assert nested[0] == value, "one transaction saw two values of one document"
            return [value, version, *nested]

        seen = await manager.run(operation)
        marks = await self.marks(self.persister(store))
        if len(seen) == 4:
            assert (seen[0], sorted(seen[1::2]), sorted(marks)) == (2, [2, 3], ["first", "inner", "outer"])
        else:
            assert marks == ["first", "outer"]

    @case
    async def test_a_state_that_begins_while_it_is_read_is_read_whole(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        manager, other = self.manager(faulty), self.manager(store)
        head = head_key("tally-1")
        calls: list[int] = []

        async def begin(keys: Any) -> None:
            if keys == (head,) and not calls:
                calls.append(1)
                await other.meanwhile(add, "first")

        async def operation(tx: Tx) -> int:
            return (await tx.append(TALLIES, "1", Added("mine"))).version

        faulty.before_get = begin
        assert await manager.run(operation) == 2
        assert await self.marks(self.persister(store)) == ["first", "mine"]

    @case
    async def test_a_damaged_head_is_mended_on_the_way(self) -> None:
        store = self.open()
        manager = self.manager(store)
        for _ in range(3):
            await manager.run(add, "a")
        document = await stored(store, head_key("tally-1"))
        changed = document.body.replace(b'"total":3', b'"total":4')
        assert changed != document.body

        async def read_only(tx: Tx) -> int:
            return (await tx.load(TALLIES, "1")).data.total + (await get_note(tx, "none") or 0)

        once = RetryPolicy(attempts=1)
        for damage in (Put(document.key, changed, Require.EXISTS), Delete(document.key, Require.EXISTS)):
            await committed(store, damage)
            assert await manager.run(read_only, retry=once) == 3
            await stored(store, document.key)
        assert await manager.run(add, "b") == 4

    @case
    async def test_what_is_too_large_is_refused_whole(self) -> None:
        store = self.open()
        before = await self.written(store)

        async def too_many(tx: Tx) -> None:
            for number in range(501):
                await tx.put_document(NOTES, str(number), 1)

        async def too_long(tx: Tx) -> None:
            await tx.put_document(NOTES, "a", 1)
            await tx.put_document(NOTES, "b", "x" * 1_000_000)

        for operation in (too_many, too_long):
            with raises(InvalidInputError):
                await self.manager(store).run(operation)
        assert await self.written(store) == before
