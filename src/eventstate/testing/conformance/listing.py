"""Lists of documents in transactions: of guarded collections only, and nobody slips into one."""

from __future__ import annotations

from functools import partial
from typing import Any

from eventstate.errors import (
    ConfigurationError,
    ScanNotSerializableError,
)
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.conformance.undertaking import (
    NOTES,
    ORDERS,
    Sequence,
    SlowLists,
    TransactionSuite,
    Tx,
    get_note,
    order,
)
from eventstate.transactions.documents import AGREED_SECONDS


class ListingCases(TransactionSuite):
    """Lists are of guarded collections only, and nobody slips into one."""

    @case
    async def test_what_is_not_guarded_is_not_listed(self) -> None:
        store = self.open()
        manager = self.manager(store)

        async def listed(tx: Tx) -> Any:
            return await tx.list_documents(NOTES)

        async def states(tx: Tx) -> None:
            await tx.list_states()

        for operation in (listed, states):
            with raises(ScanNotSerializableError):
                await manager.run(operation)

    @case
    async def test_a_list_is_complete_and_in_order(self) -> None:
        store = self.open()
        slow = SlowLists(store)
        ids = ["a", "b", "ab", "ä", "a/b", "z", "Z", "\U0001f600", "￿"]

        async def fill(tx: Tx) -> None:
            for id in ids:
                await tx.put_document(ORDERS, id, {"id": id})

        async def listed(tx: Tx, prefix: str) -> Any:
            return await tx.list_documents(ORDERS, prefix=prefix)

        manager = self.manager(slow)
        assert await manager.run(listed, "") == []
        await manager.run(fill)
        expected = sorted(ids, key=lambda id: id.encode())
        assert await manager.run(listed, "") == [(id, {"id": id}) for id in expected]
        assert [id for id, _ in await manager.run(listed, "a")] == [id for id in expected if id.startswith("a")]

    @case
    async def test_nobody_slips_into_a_list(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await other.run(order, "a")

        async def delete(tx: Tx) -> None:
            await tx.delete_document(ORDERS, "a")

        async def count(tx: Tx, happening: Sequence, then: str) -> int:
            number = len(await tx.list_documents(ORDERS))
            await happening.here()
            if then == "write":
                await tx.put_document(NOTES, "count", number)
            elif then == "read":
                await get_note(tx, "other")
            elif then == "raise":
                await get_note(tx, "other")
                raise ZeroDivisionError(number)
            return number

        for then in ("write", "read", "raise"):
            for expected, change in ((2, partial(order, id="b")), (1, delete), (2, partial(order, id="a"))):
                happening = Sequence(partial(other.meanwhile, change))
                try:
                    seen = await manager.run(count, happening, then)
                except ZeroDivisionError as error:
                    seen = error.args[0]
                assert (seen, happening.attempts) == (expected, 2), (then, expected)
            await other.run(_delete_orders, "b")

    @case
    async def test_two_lists_in_one_transaction_are_of_one_time(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        await other.run(order, "a")

        async def twice(tx: Tx, happening: Sequence, second: str) -> list[int]:
            first = len(await tx.list_documents(ORDERS))
            await happening.here()
            return [first, len(await tx.list_documents(ORDERS, prefix=second))]

        for number, second in enumerate(("", "a")):
            happening = Sequence(partial(other.meanwhile, order, f"a{number}"))
            seen = await manager.run(twice, happening, second)
            assert seen[0] == seen[1], "two lists of one transaction were not of one time"

    @case
    async def test_a_list_of_many_pages_is_of_one_time(self) -> None:
        store = self.open()
        slow = SlowLists(store)
        manager, other = self.manager(slow), self.manager(store)

        async def move(tx: Tx, source: str, target: str) -> None:
            await tx.delete_document(ORDERS, source)
            await tx.put_document(ORDERS, target, 1)

        async def listed(tx: Tx) -> list[str]:
            return [id for id, _ in await tx.list_documents(ORDERS)]

        for id in "bcd":
            await other.run(order, id)
        slow.between = partial(other.meanwhile, move, "d", "a")
        assert await manager.run(listed) == ["a", "b", "c"]
        slow.between = partial(other.meanwhile, move, "a", "d")
        assert await manager.run(listed) == ["b", "c", "d"]

    @case
    async def test_writers_of_a_guarded_collection_are_not_in_each_others_way(self) -> None:
        store = self.open()
        manager, other = self.manager(store), self.manager(store)
        happening = Sequence(partial(other.meanwhile, order, "a"))

        async def operation(tx: Tx) -> None:
            assert await tx.get_document(ORDERS, "b") is None
            await happening.here()
            await tx.put_document(ORDERS, "b", 1)

        await manager.run(operation)
        assert happening.attempts == 1

    @case
    async def test_all_must_declare_a_guarded_collection(self) -> None:
        store = self.open()
        await self.manager(store).run(order, "a")

        async def use(tx: Tx, how: str) -> None:
            if how == "get":
                await tx.get_document(ORDERS, "a")
            elif how == "put":
                await tx.put_document(ORDERS, "b", 1)
            else:
                await tx.delete_document(ORDERS, "a")

        before = await self.written(store)
        for how in ("get", "put", "delete"):
            undeclared = self.manager(store, guarded=())
            for _ in range(2):
                with raises(ConfigurationError):
                    await undeclared.run(use, how)
        assert await self.written(store) == before

    @case
    async def test_one_who_used_it_before_it_was_guarded_is_told_soon(self) -> None:
        store = self.open()
        faulty = self.faulty(store)
        early, late = self.manager(faulty, guarded=()), self.manager(store)

        async def read_and_delete(tx: Tx) -> None:
            await tx.get_document(ORDERS, "x")
            await tx.delete_document(ORDERS, "x")

        await early.run(read_and_delete)
        await late.run(order, "b")
        before = await self.written(store)
        await faulty.runtime.sleep(AGREED_SECONDS)
        for operation in (read_and_delete, partial(order, id="c")):
            with raises(ConfigurationError):
                await early.run(operation)
        assert await self.written(store) == before

    @case
    async def test_documents_from_before_it_was_guarded_are_not_passed_over(self) -> None:
        store = self.open()
        await self.manager(store, guarded=()).run(order, "a")

        async def listed(tx: Tx) -> Any:
            return await tx.list_documents(ORDERS)

        declared = self.manager(store)
        for operation in (listed, partial(order, id="b")):
            with raises(ConfigurationError):
                await declared.run(operation)


async def _delete_orders(tx: Tx, *ids: str) -> None:
    for id in ids:
        await tx.delete_document(ORDERS, id)
