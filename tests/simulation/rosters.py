"""Guarded collections: what a transaction has listed is the whole list until its commit. No phantoms."""

from __future__ import annotations

from eventstate.core.documents import DOCUMENT
from eventstate.core.retrying import RetryPolicy
from eventstate.errors import CommitUnknownError, ConflictError, StoreUnavailableError
from eventstate.machines.async_transaction import AsyncTransaction
from eventstate.machines.async_transaction_manager import AsyncTransactionManager
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.simulation import Simulation
from tests.simulation.world import World, any_weather

PLACES = 2
NAMES = ("ann", "bob", "cem")


def manager_of(store: Store) -> AsyncTransactionManager:
    retry = RetryPolicy(attempts=3)
    return AsyncTransactionManager(store, governor="ward", guarded=["roster"], retry=retry, keep_records=False)


async def filling_a_roster(simulation: Simulation) -> None:
    """Everybody who signs up has seen a free place; there are never more than there are places."""
    chance = simulation.random
    world = World(simulation, chance.choice((1, 2, 2, 3)), any_weather(chance), steps=60)
    world.disk.page_limit = chance.choice((1, 1000))
    rosters: list[list[str]] = []
    world.disk.rules.append(lambda _batch: rosters.append(_names(world)))
    managers = [manager_of(line) for line in world.lines]
    starts_with = chance.randrange(PLACES + 1)
    for name in NAMES[:starts_with]:
        drive(manager_of(world.disk).execute_transaction(_sign_up, name))
    rosters.append(_names(world))

    async def act(client: int, process: int) -> None:
        name = NAMES[client]
        kinds = chance.choice(((_roster,), (_swap,), (_sign_up, _leave), (_sign_up, _sign_up, _leave, _roster)))
        for _ in range(2):
            operation = chance.choice(kinds)
            since = len(rosters) - 1
            try:
                seen = await managers[process].execute_transaction(operation, name)
            except (ConflictError, StoreUnavailableError, CommitUnknownError):
                continue
            # With a key or a token the result would be that of an earlier run; here it is what was seen.
            assert seen in rosters[max(since, 0) :], f"{name} saw {seen}, which the roster never was meanwhile"

    clients = [number % len(managers) for number in range(3)]
    await world.run([(process, act(client, process)) for client, process in enumerate(clients)])
    await world.all_delivered()
    _check(world)


async def _sign_up(transaction: AsyncTransaction, name: str) -> list[str]:
    roster = await _roster(transaction)
    if len(roster) < PLACES and name not in roster:
        await transaction.put_document("roster", name, True)
        await transaction.put_document("counts", "roster", len(roster) + 1)
    return roster


async def _leave(transaction: AsyncTransaction, name: str) -> list[str]:
    roster = await _roster(transaction)
    if name in roster:
        await transaction.delete_document("roster", name)
        await transaction.put_document("counts", "roster", len(roster) - 1)
    return roster


async def _swap(transaction: AsyncTransaction, name: str) -> list[str]:
    """Take the place of somebody else."""
    roster = await _roster(transaction)
    if roster and name not in roster:
        await transaction.delete_document("roster", roster[0])
        await transaction.put_document("roster", name, True)
    return roster


async def _roster(transaction: AsyncTransaction, _name: str = "") -> list[str]:
    return [name for name, _ in await transaction.list_documents("roster")]


def _names(world: World) -> list[str]:
    return [key.id.removeprefix("roster!/") for key in world.disk.keys(DOCUMENT, "ward") if key.id.startswith("roster")]


def _check(world: World) -> None:
    count, roster = drive(manager_of(world.disk).execute_transaction(_both))
    assert len(roster) <= PLACES, f"{PLACES} places, and {roster}"
    assert count == len(roster), f"{roster} are counted as {count}"


async def _both(transaction: AsyncTransaction) -> tuple[int, list[str]]:
    return await transaction.get_document("counts", "roster") or 0, await _roster(transaction)
