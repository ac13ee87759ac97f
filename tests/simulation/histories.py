"""Random transactions over lists that are documents and states: some serial order explains all that they saw."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, Final

from eventstate.core.retrying import RetryPolicy
from eventstate.errors import CommitUnknownError, ConflictError, StoreUnavailableError
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.async_transaction import AsyncTransaction
from eventstate.machines.async_transaction_manager import AsyncTransactionManager
from eventstate.machines.machine import Machine
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.serializability import Append, Operation, Outcome, Read, Transaction, check
from eventstate.testing.simulation import Simulation
from tests.simulation.world import World, any_weather

DOCUMENTS = ("d1", "d2")
STATES = ("s1", "s2")


@dataclass(frozen=True, slots=True)
class Pushed:
    value: int


@dataclass(frozen=True, slots=True)
class Pile:
    values: tuple[int, ...] = ()


def push(pile: Pile, event: Pushed) -> Pile:
    return Pile((*pile.values, event.value))


LISTS: Final[Machine[Pile, Any]] = Machine("list", Pile(), push)


def manager_of(store: Store) -> AsyncTransactionManager:
    retry = RetryPolicy(attempts=3)
    return AsyncTransactionManager(store, governor="lists", machines=[LISTS], retry=retry, keep_records=False)


class Historian:
    """The history of one run. Time is the order in which things were noted, which is that of the steps."""

    def __init__(self) -> None:
        self.transactions: dict[str, Transaction] = {}
        self._time = itertools.count()

    def begin(self, id: str, operations: list[Operation]) -> None:
        """Unknown until it ends: its client may crash."""
        self.transactions[id] = Transaction(
            id=id,
            process=id,
            operations=operations,
            outcome=Outcome.UNKNOWN,
            started=next(self._time),
            ended=None,
        )

    def end(self, id: str, outcome: Outcome, operations: list[Operation]) -> None:
        begun = self.transactions[id]
        self.transactions[id] = replace(begun, operations=operations, outcome=outcome, ended=next(self._time))


async def reading_and_appending(simulation: Simulation) -> None:
    chance = simulation.random
    world = World(simulation, chance.choice((1, 2, 2, 3)), any_weather(chance), steps=70)
    keys = chance.choice((DOCUMENTS, STATES, ("d1", "s1"), ("d1", "d2", "s1")))
    managers = [manager_of(line) for line in world.lines]
    historian, values = Historian(), itertools.count(1)

    async def act(client: int, process: int) -> None:
        for turn in range(2):
            plan = _plan(world, keys, values)
            await _transact(world, managers[process], world.lines[process], f"{client}.{turn}", plan, historian)

    clients = [number % len(managers) for number in range(chance.choice((2, 3, 3)))]
    await world.run([(process, act(client, process)) for client, process in enumerate(clients)])
    await world.all_delivered()
    final = drive(manager_of(world.disk).execute_transaction(_lists, keys))
    anomalies = check(historian.transactions.values(), final=final)
    assert anomalies == [], anomalies[0]


def _plan(world: World, keys: tuple[str, ...], values: Any) -> list[Operation]:
    """A few reads and appends; what is read is not known yet."""
    chance = world.simulation.random
    operations: list[Operation] = []
    for _ in range(chance.choice((1, 2, 2, 3))):
        key = chance.choice(keys)
        operations.append(Append(key, next(values)) if chance.random() < 0.5 else Read(key, ()))
    return operations


async def _transact(
    world: World, manager: AsyncTransactionManager, line: Store, id: str, plan: list[Operation], historian: Historian
) -> None:
    done: list[Operation] = []
    meant: list[Operation] = [operation for operation in plan if isinstance(operation, Append)]
    historian.begin(id, meant)
    try:
        await manager.execute_transaction(_carry_out, plan, done)
    except (ConflictError, StoreUnavailableError):
        historian.end(id, Outcome.ABORTED, meant)
    except CommitUnknownError as error:
        if world.simulation.random.random() < 0.5:
            return
        try:
            is_there = await AsyncStateMachinePersister(line, governor="lists").settle(error.token)
        except (CommitUnknownError, StoreUnavailableError):
            return
        historian.end(id, Outcome.COMMITTED if is_there else Outcome.ABORTED, done if is_there else meant)
    else:
        historian.end(id, Outcome.COMMITTED, done)


async def _carry_out(transaction: AsyncTransaction, plan: list[Operation], done: list[Operation]) -> None:
    done.clear()
    for operation in plan:
        if isinstance(operation, Read):
            done.append(Read(operation.key, await _list(transaction, operation.key)))
            continue
        key, value = operation
        if key in DOCUMENTS:
            before = await _list(transaction, key)
            await transaction.put_document("lists", key, [*before, value])
        else:
            await transaction.append(LISTS, key, Pushed(value))
        done.append(operation)


async def _list(transaction: AsyncTransaction, key: str) -> tuple[int, ...]:
    if key in DOCUMENTS:
        return tuple(await transaction.get_document("lists", key) or ())
    found = await transaction.find(LISTS, key)
    return found.data.values if found is not None else ()


async def _lists(transaction: AsyncTransaction, keys: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {key: await _list(transaction, key) for key in keys}
