"""The sync and the asyncio side of transactions are one; and typed machines inside transactions."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_overloads

import pytest
from pydantic import BaseModel

from eventstate import (
    AsyncEffectDispatcher,
    AsyncTransaction,
    AsyncTransactionManager,
    ConfigurationError,
    EffectDispatcher,
    IllegalTransitionError,
    InvalidInputError,
    Machine,
    NestedTransactionError,
    NotRepeatableError,
    StateMachinePersister,
    StateNotFoundError,
    StateSnapshot,
    Transaction,
    TransactionManager,
    UnknownEventError,
    open_async_store,
    open_store,
)
from eventstate.stores.base import Store

PAIRS: list[tuple[type, type]] = [
    (TransactionManager, AsyncTransactionManager),
    (Transaction, AsyncTransaction),
    (EffectDispatcher, AsyncEffectDispatcher),
]
AT_ONCE = {"on_commit"}
"""What both sides call without waiting: it only notes something."""


def members(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_") or name == "__init__"}


def parameters(function: Any) -> list[tuple[str, Any, Any, str]]:
    """Names, kinds, defaults and annotations; those of the async side as the sync side has them."""
    return [
        (p.name, p.kind, p.default, _as_sync(str(p.annotation)))
        for p in inspect.signature(function).parameters.values()
    ]


def _as_sync(annotation: str) -> str:
    for waited, given in (
        ("Callable[..., Awaitable[T]]", "Callable[..., T]"),
        ("Callable[[Effect], Awaitable[object]]", "Callable[[Effect], object]"),
        ("AsyncIterator", "Iterator"),
        ("AsyncKeyring", "Keyring"),
    ):
        annotation = annotation.replace(waited, given)
    return annotation


ALL = [(one, other, name) for one, other in PAIRS for name in members(one)]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_have_the_same_members_in_the_same_order(one: type, other: type) -> None:
    assert list(members(one)) == list(members(other))


def test_there_is_something_to_compare() -> None:
    assert [len(members(one)) >= least for (one, _), least in zip(PAIRS, (6, 15, 3), strict=True)] == [True] * 3


@pytest.mark.parametrize(("one", "other", "name"), ALL)
def test_a_member_is_the_same_on_both(one: type, other: type, name: str) -> None:
    sync, waited = members(one)[name], members(other)[name]
    if isinstance(sync, property):
        assert isinstance(waited, property)
        assert sync.__doc__ == waited.__doc__
        return
    assert parameters(sync) == parameters(waited)
    assert [parameters(o) for o in get_overloads(sync)] == [parameters(o) for o in get_overloads(waited)]
    assert (sync.__doc__ is None) == (waited.__doc__ is None)
    given, later = inspect.signature(sync).return_annotation, inspect.signature(waited).return_annotation
    assert str(given) == _as_sync(str(later))


@pytest.mark.parametrize(("one", "other", "name"), [item for item in ALL if item[2] != "__init__"])
def test_what_returns_at_once_is_awaited_on_the_other(one: type, other: type, name: str) -> None:
    sync, waited = members(one)[name], members(other)[name]
    if isinstance(sync, property) or name in AT_ONCE:
        assert not inspect.iscoroutinefunction(waited)
    elif inspect.isgeneratorfunction(sync):
        assert inspect.isasyncgenfunction(waited)
    else:
        assert inspect.iscoroutinefunction(waited)
        assert not inspect.iscoroutinefunction(sync)


def test_stores_and_managers_must_fit() -> None:
    with open_store("memory://") as store:
        with pytest.raises(ConfigurationError):
            AsyncTransactionManager(store)
        with pytest.raises(ConfigurationError):
            AsyncEffectDispatcher(store, {})

    async def other_way() -> None:
        async with open_async_store("memory://") as store:
            with pytest.raises(ConfigurationError):
                TransactionManager(store)
            with pytest.raises(ConfigurationError):
                EffectDispatcher(store, {})

    asyncio.run(other_way())


def test_an_operation_of_the_other_kind_is_told() -> None:
    async def waits(tx: Any) -> None:
        await tx.put_document("c", "a", 1)

    def does_not(tx: Any) -> int:
        return 1

    with open_store("memory://") as store:
        manager = TransactionManager(store)
        with pytest.raises(InvalidInputError, match="AsyncTransactionManager"):
            _ = manager.execute_transaction(waits)
        assert manager.execute_transaction(lambda tx: tx.get_document("c", "a")) is None

    async def other() -> None:
        async with open_async_store("memory://") as store:
            operation: Any = does_not
            with pytest.raises(InvalidInputError, match="TransactionManager"):
                await AsyncTransactionManager(store).execute_transaction(operation)

    asyncio.run(other())


def test_the_sync_side_works_inside_a_running_loop() -> None:
    async def in_loop() -> Any:
        with open_store("memory://") as store:
            manager = TransactionManager(store)
            manager.execute_transaction(lambda tx: tx.put_document("c", "a", 1))
            return manager.execute_transaction(lambda tx: tx.get_document("c", "a"))

    assert asyncio.run(in_loop()) == 1


def test_tasks_of_one_operation_work_together_and_a_nested_one_is_seen() -> None:
    async def main() -> None:
        async with open_async_store("memory://") as store:
            manager = AsyncTransactionManager(store)

            async def count(tx: AsyncTransaction) -> int:
                await tx.put_document("c", "n", (await tx.get_document("c", "n") or 0) + 1)
                return 0

            async def operation(tx: AsyncTransaction) -> list[Any]:
                await asyncio.gather(*(tx.put_document("c", str(number), number) for number in range(10)))
                with pytest.raises(NestedTransactionError):
                    await asyncio.create_task(manager.execute_transaction(count))
                return list(await asyncio.gather(*(tx.get_document("c", str(number)) for number in range(10))))

            assert await manager.execute_transaction(operation) == list(range(10))
            results = await asyncio.gather(*(manager.execute_transaction(count) for _ in range(20)))
            assert results == [0] * 20, "tasks beside each other are not nested"

            async def read(tx: AsyncTransaction) -> Any:
                return await tx.get_document("c", "n")

            assert await manager.execute_transaction(read) == 20

    asyncio.run(main())


def test_a_task_that_nobody_waited_for_is_told_that_it_is_too_late() -> None:
    from eventstate import TransactionEndedError

    async def main() -> None:
        async with open_async_store("memory://") as store:
            manager = AsyncTransactionManager(store)
            left: list[asyncio.Task[Any]] = []

            async def operation(tx: AsyncTransaction) -> None:
                left.append(asyncio.create_task(tx.put_document("c", "late", 1)))
                await tx.put_document("c", "a", 1)

            await manager.execute_transaction(operation)
            with pytest.raises(TransactionEndedError):
                await left[0]

            async def read(tx: AsyncTransaction) -> Any:
                return await tx.get_document("c", "late")

            assert await manager.execute_transaction(read) is None

    asyncio.run(main())


# Typed machines


class Line(BaseModel):
    article: str
    amount: int = 1


class Order(BaseModel):
    status: Literal["new", "placed", "paid"] = "new"
    lines: list[Line] = []


class Placed(BaseModel):
    lines: list[Line]


class Paid(BaseModel):
    by: str


def evolve(order: Order, event: Placed | Paid) -> Order:
    match event:
        case Placed(lines=lines):
            return order.model_copy(update={"status": "placed", "lines": [*order.lines, *lines]})
        case Paid():
            return order.model_copy(update={"status": "paid"})


@dataclass(frozen=True)
class Stock:
    left: int = 10


@dataclass(frozen=True)
class Taken:
    amount: int


def take(stock: Stock, event: Taken) -> Stock:
    if event.amount > stock.left:
        raise OverflowError("so much is not there")
    return replace(stock, left=stock.left - event.amount)


orders = Machine(
    "order", Order(), evolve, state_of="status", transitions=[("new", "Placed", "placed"), ("placed", "Paid", "paid")]
)
stock = Machine("stock", Stock(), take)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db?durability=off"
    with open_store(url) as opened:
        yield opened


def place(tx: Transaction, id: str, article: str, amount: int) -> StateSnapshot[Order]:
    tx.append(stock, article, Taken(amount), changed_by="kim")
    return tx.append(orders, id, Placed(lines=[Line(article=article, amount=amount)]), expected=0, changed_by="kim")


def machines_on(store: Store) -> tuple[TransactionManager, StateMachinePersister]:
    return (
        TransactionManager(store, machines=[orders, stock]),
        StateMachinePersister(store, machines=[orders, stock]),
    )


def test_machines_of_two_kinds_in_one_transaction(store: Store) -> None:
    manager, persister = machines_on(store)
    placed = manager.execute_transaction(place, "1", "tea", 3)
    assert isinstance(placed.data, Order)
    assert (placed.version, placed.data.status, placed.data.lines) == (1, "placed", [Line(article="tea", amount=3)])
    assert persister.load(orders, "1").data == placed.data
    assert persister.load(stock, "tea").data == Stock(7)
    assert next(iter(persister.history(stock, "tea"))).metadata.changed_by == "kim"
    assert manager.execute_transaction(lambda tx: tx.append(orders, "1", Paid(by="cash"))).data.status == "paid"
    assert [step.action for step in persister.history(orders, "1")] == ["Placed", "Paid"]
    assert persister.validate_consistency().is_consistent


def test_an_illegal_transition_inside_writes_nothing(store: Store) -> None:
    manager, persister = machines_on(store)
    manager.execute_transaction(place, "1", "tea", 3)

    def pay_twice(tx: Transaction) -> None:
        tx.put_document("notes", "a", 1)
        tx.append(stock, "tea", Taken(1))
        tx.append(orders, "1", Paid(by="cash"))
        tx.on_commit("mail", "paid")
        tx.append(orders, "1", Paid(by="card"))

    with pytest.raises(IllegalTransitionError) as caught:
        manager.execute_transaction(pay_twice)
    assert (caught.value.state, caught.value.action) == ("paid", "Paid")
    assert persister.load(orders, "1").data.status == "placed"
    assert persister.load(stock, "tea").data == Stock(7)
    assert manager.execute_transaction(lambda tx: tx.get_document("notes", "a")) is None
    assert EffectDispatcher(store, {}).waiting()["waiting"] == 0
    (record,) = list(manager.get_transaction_log())[1:]
    assert record.reason is not None
    assert record.reason.startswith("IllegalTransitionError")


def test_an_error_of_evolve_passes_unchanged_and_writes_nothing(store: Store) -> None:
    manager, persister = machines_on(store)
    with pytest.raises(OverflowError, match="not there"):
        manager.execute_transaction(place, "1", "tea", 30)
    with pytest.raises(StateNotFoundError):
        persister.load(orders, "1")
    with pytest.raises(StateNotFoundError):
        persister.load(stock, "tea")


def test_events_of_another_machine_are_refused(store: Store) -> None:
    manager, _ = machines_on(store)
    with pytest.raises(UnknownEventError):
        manager.execute_transaction(lambda tx: tx.append(stock, "tea", Paid(by="cash")))


def test_what_an_operation_does_to_a_state_it_was_given_changes_nothing(store: Store) -> None:
    manager, persister = machines_on(store)
    manager.execute_transaction(place, "1", "tea", 3)

    def vandal(tx: Transaction) -> None:
        order = tx.load(orders, "1").data
        order.lines.clear()
        order.status = "paid"
        assert tx.load(orders, "1").data.lines
        tx.execute(orders, "1", lambda given: given.lines.clear())
        tx.append(orders, "1", Paid(by="cash"))

    manager.execute_transaction(vandal)
    assert persister.load(orders, "1").data == Order(status="paid", lines=[Line(article="tea", amount=3)])


def test_read_write_transactions(store: Store) -> None:
    manager, persister = machines_on(store)
    saved = manager.read_write_transaction([], {"plain-1": {"n": 1}, "plain-2": {"n": 2}}, changed_by="kim")
    assert {id: state.version for id, state in saved.items()} == {"plain-1": 1, "plain-2": 1}

    def swap(states: Any) -> dict[str, Any]:
        assert states["absent"] is None
        return {"plain-1": states["plain-2"].data, "plain-2": states["plain-1"].data}

    manager.read_write_transaction(["plain-1", "plain-2", "absent"], swap, action="swapped")
    assert (persister.load("plain-1").data, persister.load("plain-2").data) == ({"n": 2}, {"n": 1})
    assert persister.load("plain-1").action == "swapped"
    bad: Any = [1]
    with pytest.raises(InvalidInputError):
        manager.read_write_transaction([], bad)
    assert manager.read_write_transaction(["plain-1"], {}) == {}


def test_a_machine_that_is_not_repeatable_is_told(store: Store) -> None:
    manager, _ = machines_on(store)
    runs: list[int] = []

    def operation(tx: Transaction) -> None:
        runs.append(1)
        tx.append(stock, "tea", Taken(len(runs)))

    with pytest.raises(NotRepeatableError, match="stock-tea"):
        manager.execute_transaction(operation, check_repeatable=True)


def test_transactions_and_persisters_take_note_of_each_other(store: Store) -> None:
    manager, persister = machines_on(store)
    state = persister.append(stock, "tea", Taken(1), expected=0)
    inside = manager.execute_transaction(lambda tx: tx.append(stock, "tea", Taken(1), expected=state))
    assert inside.version == 2
    again = persister.append(stock, "tea", Taken(1), expected=inside)
    assert (again.version, again.data) == (3, Stock(7))
    assert persister.append(stock, "tea", Taken(1), expected=3).version == 4
