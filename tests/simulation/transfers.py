"""Money moved between accounts that are documents and states: none is lost, none is made, each transfer counts once."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from eventstate.core.retrying import RetryPolicy
from eventstate.errors import CommitUnknownError, ConflictError, StoreUnavailableError
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.async_transaction import AsyncTransaction
from eventstate.machines.async_transaction_manager import AsyncTransactionManager
from eventstate.machines.machine import Machine
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.simulation import Simulation
from tests.simulation.world import World, any_weather

START = 100
DOCUMENTS = ("d1", "d2")
STATES = ("s1", "s2")
UNSURE = (ConflictError, StoreUnavailableError)


@dataclass(frozen=True, slots=True)
class Account:
    balance: int = 0
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    amount: int
    id: str


def evolve(account: Account, event: Moved) -> Account:
    return Account(account.balance + event.amount, (*account.log, event.id))


ACCOUNTS: Final[Machine[Account, Any]] = Machine("account", Account(), evolve)


def bank(store: Store, *, keep_records: bool = False) -> AsyncTransactionManager:
    retry = RetryPolicy(attempts=4)
    return AsyncTransactionManager(store, governor="bank", machines=[ACCOUNTS], retry=retry, keep_records=keep_records)


@dataclass
class Told:
    """What the clients were told of their transfers."""

    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)
    """Of each transfer that was unknown once."""


async def transferring(simulation: Simulation) -> None:
    chance = simulation.random
    world = World(simulation, chance.choice((1, 2, 2, 3)), any_weather(chance), steps=70)
    # Few accounts, so that transfers meet: documents alone have an outcome document, states have entries.
    names = chance.choice((DOCUMENTS, STATES, ("d1", "s1"), ("d1", "d2", "s1")))
    drive(bank(world.disk).execute_transaction(_open_accounts, names))
    banks = [bank(line, keep_records=chance.random() < 0.3) for line in world.lines]
    told = Told()
    clients = [number % len(banks) for number in range(chance.choice((2, 3)))]

    async def act(number: int, manager: AsyncTransactionManager, line: Store) -> None:
        for turn in range(2):
            if chance.random() < 0.2:
                await _audit(manager, names)
            else:
                await _transfer(world, manager, line, names, f"{number}.{turn}", told)

    await world.run(
        [(process, act(number, banks[process], world.lines[process])) for number, process in enumerate(clients)]
    )
    _check(world, names, told)
    if await world.all_delivered():
        _check(world, names, told)


async def _open_accounts(transaction: AsyncTransaction, names: tuple[str, ...]) -> None:
    for name in names:
        await _book(transaction, name, START, f"open {name}")


async def _audit(manager: AsyncTransactionManager, names: tuple[str, ...]) -> None:
    """Look at all accounts at once, while others are at work."""
    try:
        balances = await manager.execute_transaction(_balances, names)
    except UNSURE:
        return
    assert sum(balances) == START * len(names), f"an audit saw {balances}"


async def _balances(transaction: AsyncTransaction, names: tuple[str, ...]) -> list[int]:
    return [(await _account(transaction, name)).balance for name in names]


async def _transfer(
    world: World, manager: AsyncTransactionManager, line: Store, names: tuple[str, ...], id: str, told: Told
) -> None:
    chance = world.simulation.random
    source, target = chance.sample(names, 2)
    args = (source, target, chance.randrange(1, 10), id)
    key = chance.choice((None, f"key {id}"))
    try:
        await manager.execute_transaction(_move, *args, idempotency_key=key)
        told.done.add(id)
    except UNSURE:
        told.failed.add(id)
    except CommitUnknownError as error:
        told.tokens[id] = error.token
        await _pursue(world, manager, line, args, key, error.token, told)


async def _pursue(
    world: World, manager: AsyncTransactionManager, line: Store, args: Any, key: str | None, token: str, told: Told
) -> None:
    """Find out what came of a transfer: by its token, or by doing it again under its key or token."""
    id: str = args[3]
    try:
        if world.simulation.random.random() < 0.5:
            is_there = await AsyncStateMachinePersister(line, governor="bank", machines=[ACCOUNTS]).settle(token)
            (told.done if is_there else told.failed).add(id)
            return
        del told.tokens[id]  # of its first attempt only
        if key is not None:
            await manager.execute_transaction(_move, *args, idempotency_key=key)
        else:
            await manager.execute_transaction(_move, *args, token=token)
        told.done.add(id)
    except (*UNSURE, CommitUnknownError):
        return  # it is there once, or not at all


async def _move(transaction: AsyncTransaction, source: str, target: str, amount: int, id: str) -> int:
    if (await _account(transaction, source)).balance < amount:
        return 0
    await _book(transaction, source, -amount, id)
    await _book(transaction, target, amount, id)
    return amount


async def _account(transaction: AsyncTransaction, name: str) -> Account:
    if name in DOCUMENTS:
        value = await transaction.get_document("accounts", name) or {"balance": 0, "log": ()}
        return Account(value["balance"], tuple(value["log"]))
    found = await transaction.find(ACCOUNTS, name)
    return found.data if found is not None else Account()


async def _book(transaction: AsyncTransaction, name: str, amount: int, id: str) -> None:
    if name in DOCUMENTS:
        account = evolve(await _account(transaction, name), Moved(amount, id))
        await transaction.put_document("accounts", name, {"balance": account.balance, "log": account.log})
    else:
        await transaction.append(ACCOUNTS, name, Moved(amount, id))


def _check(world: World, names: tuple[str, ...], told: Told) -> None:
    reader = AsyncStateMachinePersister(world.disk, governor="bank", machines=[ACCOUNTS])
    for id, token in told.tokens.items():
        is_there = drive(reader.settle(token))
        assert id not in (told.failed if is_there else told.done), f"the token of {id} changed its mind to {is_there}"
        (told.done if is_there else told.failed).add(id)
    accounts: dict[str, Account] = drive(bank(world.disk).execute_transaction(_all_accounts, names))
    balances = {name: account.balance for name, account in accounts.items()}
    assert sum(balances.values()) == START * len(names), f"money was made or lost: {balances}"
    booked = Counter(itertools.chain.from_iterable(account.log for account in accounts.values()))
    for id in told.done:
        assert booked[id] == 2, f"transfer {id} was acknowledged and is booked {booked[id]} times"
    for id in told.failed:
        assert booked[id] == 0, f"transfer {id} was said to have failed and is booked"
    for id, times in booked.items():
        assert times == 2 or id.startswith("open"), f"transfer {id} is booked {times} times"


async def _all_accounts(transaction: AsyncTransaction, names: tuple[str, ...]) -> dict[str, Account]:
    return {name: await _account(transaction, name) for name in names}
