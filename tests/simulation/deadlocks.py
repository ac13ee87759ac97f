"""Clients that wait for each other: of a circle exactly one gives way, and where there is none nobody does."""

from __future__ import annotations

from eventstate.errors import (
    DeadlockDetectedError,
    LeaseLostError,
    LockTimeoutError,
    StoreUnavailableError,
)
from eventstate.runtime.base import Waiter
from eventstate.runtime.blocking import drive
from eventstate.testing.simulation import Simulation
from eventstate.transactions.async_lock_manager import AsyncLockManager
from tests.simulation.lock_rules import LockRules
from tests.simulation.world import Weather, World, any_weather

GOVERNOR = "locks"
LONG = 100.0
SOON = 10.0
"""A circle is found by whoever closes it, so all is over long before this."""


class Party:
    """Clients that hold one lock each and want another's."""

    def __init__(self, simulation: Simulation, count: int, weather: Weather) -> None:
        self.simulation = simulation
        self.world = World(simulation, count, weather, steps=100)
        self.rules = LockRules(self.world, GOVERNOR)
        self.managers = [AsyncLockManager(line, governor=GOVERNOR) for line in self.world.lines]
        self.gave_way: list[str] = []
        self.served: list[str] = []
        self.timed_out: list[str] = []
        self._missing = count
        self._waiters: list[Waiter] = []

    async def all_hold(self, patience: float | None = None) -> None:
        """Wait until everybody has come here, or for so long."""
        self._missing -= 1
        if self._missing:
            self._waiters.append(self.simulation.runtime.waiter())
            await self._waiters[-1].wait(patience)
        else:
            self.simulation.runtime.wake(self._waiters)

    async def want(self, number: int, client: str, resource: str, wait: float = LONG, *, ttl: float = LONG) -> None:
        """Wait for a second lock, and let go of it; note how that went."""
        try:
            lock = await self.managers[number].acquire_lock(resource, client, ttl=ttl, wait=wait)
        except DeadlockDetectedError as error:
            self._gives_way(client, error)
        except LockTimeoutError as error:
            self._is_not_served(client, error)
        else:
            self.served.append(client)
            if self.world.weather.is_fair:
                self.rules.does_not_wait(client)
            await self.managers[number].release_lock(lock)
        if self.world.weather.is_fair:
            self.rules.does_not_wait(client)

    def _gives_way(self, client: str, error: DeadlockDetectedError) -> None:
        assert error.client_id == error.cycle[0] == client
        assert client in self.rules.victims, f"{client} gave way without having been told"
        self.gave_way.append(client)

    def _is_not_served(self, client: str, error: LockTimeoutError) -> None:
        assert error.holder != client, f"{client} waited for itself"
        self.timed_out.append(client)


async def circle(simulation: Simulation) -> None:
    """Everybody holds a lock and wants that of the next: one gives way, the others are served."""
    chance = simulation.random
    count = chance.choice((2, 2, 3))
    party = Party(simulation, count + 1, Weather(slowness=chance.choice((0.0, 0.1))))
    has_bystander = chance.random() < 0.5

    async def act(number: int) -> None:
        client, manager = f"c{number}", party.managers[number]
        if number == count:  # waits for one of the circle, and is none of it
            await party.all_hold()
            if has_bystander:
                await party.want(number, client, "r0")
            else:
                await manager.detect_deadlocks()
            return
        lock = await manager.acquire_lock(f"r{number}", client, ttl=LONG)
        await party.all_hold()
        await party.want(number, client, f"r{(number + 1) % count}")
        await manager.release_lock(lock)
        if client in party.gave_way:  # and begins anew
            await party.want(number, f"{client}'", f"r{(number + 1) % count}")

    await party.world.run([(number, act(number)) for number in range(count + 1)])
    assert len(party.gave_way) == 1, f"{party.gave_way} gave way in a circle of {count}"
    assert party.gave_way == party.rules.victims
    assert len(party.served) == count + has_bystander, f"only {party.served} were served"
    assert simulation.elapsed < SOON or party.world.weather.slowness, f"it took {simulation.elapsed:.1f} s"


async def chain(simulation: Simulation) -> None:
    """Everybody waits for the one before, the first for nobody: nobody gives way."""
    chance = simulation.random
    count = chance.choice((2, 3, 3))
    party = Party(simulation, count, Weather(slowness=chance.choice((0.0, 0.1))))
    is_in_order = chance.random() < 0.5

    async def act(number: int) -> None:
        client, manager = f"c{number}", party.managers[number]
        lock = await manager.acquire_lock(f"r{number}", client, ttl=LONG)
        if is_in_order:
            await party.all_hold()
        if number:
            await party.want(number, client, f"r{number - 1}")
        else:
            await simulation.runtime.sleep(chance.random() * 3)
        await manager.release_lock(lock)
        # Once more, the other way round.
        await party.want(number, f"{client}'", f"r{(number + 1) % count}")

    await party.world.run([(number, act(number)) for number in range(count)])
    assert party.rules.victims == [], f"{party.rules.victims} gave way, and there was no circle"
    assert len(party.served) == 2 * count - 1, f"only {party.served} were served"
    assert simulation.elapsed < SOON or party.world.weather.slowness, f"it took {simulation.elapsed:.1f} s"


async def knots(simulation: Simulation) -> None:
    """Circles that open again by themselves, under bad luck of all kinds: whoever gives way was in a circle then."""
    chance = simulation.random
    weather = any_weather(chance)
    count = chance.choice((2, 3))
    party = Party(simulation, count, weather)
    world, ttl = party.world, chance.choice((5.0, 60.0))
    is_sociable = chance.random() < 0.7

    async def act(number: int) -> None:
        client, manager = f"c{number}", party.managers[number]
        for turn in range(2):
            unit = f"{client}.{turn}"
            try:
                lock = await manager.acquire_lock(f"r{number}", unit, ttl=ttl, wait=20)
                if is_sociable:
                    await party.all_hold(patience=1.0)
                patience = chance.choice((0.3, 1.0, 20.0))
                await party.want(number, unit, f"r{(number + 1) % count}", patience, ttl=ttl)
                if chance.random() < 0.2:
                    await manager.break_lock(f"r{(number + 1) % count}")
                await manager.release_lock(lock)
            except (StoreUnavailableError, LockTimeoutError, LeaseLostError):
                continue

    await world.run([(number, act(number)) for number in range(count)])
    await world.all_delivered()
    assert len(party.gave_way) <= len(party.rules.victims)
    await simulation.runtime.sleep(ttl + 5)
    for number in range(count):
        drive(AsyncLockManager(world.disk, governor=GOVERNOR).acquire_lock(f"r{number}", "heir", wait=0))
