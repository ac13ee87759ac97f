"""Locks under crashes, pauses and bad lines: numbers only grow, and whoever comes too late is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from eventstate.core.documents import ENTRY, Batch, Put
from eventstate.core.expected import ANY
from eventstate.core.leases import Fence
from eventstate.errors import (
    CommitUnknownError,
    ConflictError,
    LeaseLostError,
    LockTimeoutError,
    StoreUnavailableError,
)
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.async_transaction import AsyncTransaction
from eventstate.machines.async_transaction_manager import AsyncTransactionManager
from eventstate.machines.machine import Machine
from eventstate.runtime.blocking import drive
from eventstate.testing.simulation import Simulation
from eventstate.transactions.locks import DistributedLock
from tests.simulation.lock_rules import LockRules
from tests.simulation.world import World, any_weather

GOVERNOR = "locks"
TTL = 5.0
WAIT = 60.0
LONGEST = WAIT + 40.0
"""What a wait may take at most: the commits under way when its time is over have 15 seconds each."""

UNSURE = (ConflictError, StoreUnavailableError, CommitUnknownError)


@dataclass(frozen=True, slots=True)
class Noted:
    fence: int
    n: int


@dataclass(frozen=True, slots=True)
class Count:
    fence: int = 0


def evolve(_count: Count, event: Noted) -> Count:
    return Count(event.fence)


LOGS: Final[Machine[Count, Any]] = Machine("log", Count(), evolve)


def manager_of(store: Any) -> AsyncTransactionManager:
    return AsyncTransactionManager(store, governor=GOVERNOR, machines=[LOGS], keep_records=False)


class Client:
    """Acquires, writes under its fence, and gives back, some times over."""

    def __init__(self, world: World, rules: LockRules, name: str, process: int, resources: tuple[str, ...]) -> None:
        self.world = world
        self.rules = rules
        self.name = name
        self.process = world.processes[process]
        self.resources = resources
        line = world.lines[process]
        self.manager = manager_of(line)
        self.persister = AsyncStateMachinePersister(line, governor=GOVERNOR, machines=[LOGS])

    async def run(self) -> None:
        chance = self.world.simulation.random
        for turn in range(2):
            unit = f"{self.name}.{turn}"  # a client id names one unit of work
            way = chance.choice((self._plain, self._plain, self._renewed, self._several))
            try:
                await way(unit)
            except LockTimeoutError as error:
                self._is_not_served(unit, error)
            except LeaseLostError:
                continue  # looked at where it was raised
            except UNSURE:
                assert not self.world.weather.is_fair

    def _is_not_served(self, unit: str, error: LockTimeoutError) -> None:
        assert error.holder != unit, f"{unit} did not get the lock that it holds"
        assert not self.world.weather.is_fair, f"{unit} was not served in {WAIT} s"

    async def _plain(self, unit: str) -> None:
        resource = self.world.simulation.random.choice(self.resources)
        lock = await self._in_time(unit, self.manager.acquire_lock(resource, unit, ttl=TTL, wait=WAIT))
        self._got(lock, unit)
        await self._work(lock)
        try:
            await self.manager.release_lock(lock)
        except LeaseLostError as error:
            self.rules.must_be_lost(error, lock)
            raise

    async def _renewed(self, unit: str) -> None:
        resource = self.world.simulation.random.choice(self.resources)
        async with self.manager.lock(resource, unit, ttl=TTL, wait=WAIT) as lock:
            self._got(lock, unit)
            await self._work(lock, patience=2 * TTL)

    async def _several(self, unit: str) -> None:
        locks = await self._in_time(unit, self.manager.acquire_locks(self.resources, unit, ttl=TTL, wait=WAIT))
        for lock in locks:
            self._got(lock, unit)
        for lock in locks:
            await self._work(lock)
        for lock in reversed(locks):
            await self.manager.release_lock(lock.resource, lock.lock_token)

    async def _in_time(self, unit: str, acquiring: Awaitable[Any]) -> Any:
        """A lock, or an error, in bounded time; nothing if it is cancelled."""
        simulation = self.world.simulation
        began = simulation.elapsed
        try:
            return await acquiring
        except asyncio.CancelledError:
            if self.world.weather.only_answers_are_lost:
                self.rules.has_nothing(unit, self.resources)
            raise
        finally:
            taken = simulation.elapsed - began
            is_steady = not simulation.slowness and not self.world.is_disturbed(self.process)
            assert taken < LONGEST or not is_steady, f"{self.name} waited for {taken:.1f} s"

    def _got(self, lock: DistributedLock, unit: str) -> None:
        assert lock.client_id == unit
        if not lock.is_lost:
            self.rules.believed(lock)

    async def _work(self, lock: DistributedLock, patience: float = 1.2 * TTL) -> None:
        chance = self.world.simulation.random
        for n in range(chance.randrange(3)):
            await self.world.simulation.runtime.sleep(chance.random() * chance.choice((0.1, patience)))
            try:
                await self._write(lock, n)
            except LeaseLostError as error:
                self.rules.must_be_lost(error, lock)
                raise
            except UNSURE:
                continue

    async def _write(self, lock: DistributedLock, n: int) -> None:
        what = self.world.simulation.random.randrange(4)
        number = lock.fence.number
        if what == 0:
            await self.manager.extend_lock(lock)
        elif what == 1:
            await self.manager.execute_transaction(_note, lock.resource, number, n, fence=lock)
        else:
            await self.persister.append(LOGS, lock.resource, Noted(number, n), expected=ANY, fence=lock)


async def _note(transaction: AsyncTransaction, resource: str, number: int, n: int) -> None:
    before = await transaction.get_document("logs", resource) or []
    await transaction.put_document("logs", resource, [*before, [number, n]])


async def locking(simulation: Simulation) -> None:
    chance = simulation.random
    weather = any_weather(chance)
    if not weather.is_fair:
        weather = weather._replace(pauses=chance.choice((0, 1, 2, 4)), cancels=chance.choice((0, 0, 1, 2)))
    count, resources = chance.choice((2, 2, 3)), chance.choice((("r",), ("r",), ("r", "q")))
    has_janitor = chance.random() < 0.2
    world = World(simulation, count + has_janitor, weather, steps=150, longest_pause=3 * TTL)
    rules = LockRules(world, GOVERNOR)
    world.disk.rules.append(lambda batch: _look_at_entries(world, batch))
    clients = [Client(world, rules, f"c{number}", number, resources) for number in range(count)]
    running = [client.run() for client in clients]
    if has_janitor:
        running.append(_clean_up(world, count))
    await world.run(list(enumerate(running)))
    await world.all_delivered()
    # Whatever the dead left behind ends by itself.
    await simulation.runtime.sleep(TTL + 5)
    for resource in resources:
        lock = drive(manager_of(world.disk).acquire_lock(resource, "heir", wait=0))
        assert lock.fence.number == rules.last[resource]
        _check_numbers(world, resource)


async def _clean_up(world: World, number: int) -> None:
    """Look after expired leases and dead waits, in the middle of everything."""
    manager = manager_of(world.lines[number])
    for _ in range(2):
        await world.simulation.runtime.sleep(world.simulation.random.random() * 2 * TTL)
        try:
            await manager.cleanup_expired_locks()
            [info async for info in manager.list_locks()]
        except UNSURE:
            continue


def _look_at_entries(world: World, batch: Batch) -> None:
    """What was written under a fence was written while it was there."""
    for operation in batch.operations:
        if isinstance(operation, Put) and operation.key.kind == ENTRY:
            resource = operation.key.id.removeprefix("log-")
            for number in _numbers(operation.body):
                fence = Fence(GOVERNOR, resource, number)
                assert world.disk.document(fence.key) is not None, (
                    f"{fence} is gone, and something was written under it"
                )


def _numbers(body: bytes) -> list[int]:
    return [event["data"]["fence"] for event in orjson.loads(body)["e"]]


def _check_numbers(world: World, resource: str) -> None:
    keys = [key for key in world.disk.keys(ENTRY, GOVERNOR) if key.id == f"log-{resource}"]
    documents = [document for key in keys if (document := world.disk.document(key))]
    numbers = [number for document in documents for number in _numbers(document.body)]
    assert numbers == sorted(numbers), f"somebody wrote too late: {numbers}"
    noted = drive(manager_of(world.disk).execute_transaction(_notes, resource))
    assert noted == sorted(noted, key=lambda item: item[0]), f"somebody wrote too late: {noted}"


async def _notes(transaction: AsyncTransaction, resource: str) -> list[list[int]]:
    return await transaction.get_document("logs", resource) or []
