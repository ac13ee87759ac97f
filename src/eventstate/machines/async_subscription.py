"""The asyncio face of subscriptions: the methods of `Subscription`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, Literal, Self, TypeVar, cast

from eventstate.errors import InvalidInputError
from eventstate.log.following import Place
from eventstate.log.parking import Parked
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.deliveries import CaughtUp, Delivery
from eventstate.machines.machine import Machine
from eventstate.machines.parked_events import ParkedReport
from eventstate.machines.subscribing import Subscribing
from eventstate.machines.subscription_settings import PATIENCE_SECONDS, Settings, selection_of

T_co = TypeVar("T_co", covariant=True)


class AsyncSubscription:
    """`Subscription` for asyncio: iterated with ``async for``, its handlers are coroutines.

    A wait that is cancelled takes no event with it.
    """

    def __init__(
        self,
        persister: AsyncStateMachinePersister,
        name: str | None = None,
        *,
        state_id: str | None = None,
        machines: Iterable[Machine[Any, Any] | str] | None = None,
        actions: Iterable[str] | None = None,
        all_governors: bool = False,
        start: Place | int | str = "beginning",
        shared: bool = False,
        attempts: int = 5,
        on_poison: Literal["park", "hold", "stop"] = "park",
        save_every: int = 100,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        scope = persister._core  # pyright: ignore[reportPrivateUsage]
        if all_governors and state_id is not None:
            raise InvalidInputError("one state belongs to one governor: leave all_governors out")
        governor = None if all_governors else scope.governor
        chosen = None if state_id is None else scope.resolve(state_id, None)
        selection = selection_of(governor, chosen, machines, actions)
        settings = Settings(name, selection, start, shared, attempts, on_poison, save_every, patience)
        self._core = Subscribing(scope.store, scope.governor, scope.machines, settings)

    @property
    def order(self) -> Literal["store", "stream"]:
        """As `Subscription.order`."""
        return self._core.order

    @property
    def place(self) -> Place:
        """As `Subscription.place`."""
        return self._core.place

    @property
    def is_caught_up(self) -> bool:
        """As `Subscription.is_caught_up`."""
        return self._core.is_caught_up

    def __aiter__(self) -> AsyncIterator[Delivery]:
        """Events for ever, waiting for new ones; ends after `stop`."""
        return self.deliveries()

    def deliveries(self, *, until_caught_up: bool = False, idle: float | None = None) -> AsyncIterator[Delivery]:
        """As `Subscription.deliveries`."""
        return _Items[Delivery](self._core, until_caught_up, idle, marks=False)

    def marked(self, *, until_caught_up: bool = False, idle: float | None = None) -> AsyncIterator[Delivery | CaughtUp]:
        """As `Subscription.marked`."""
        return _Items[Delivery | CaughtUp](self._core, until_caught_up, idle, marks=True)

    async def ack(self, delivery: Delivery | None = None) -> None:
        """As `Subscription.ack`."""
        await self._core.ack(delivery)

    async def run(
        self,
        handler: Callable[[Delivery], Awaitable[object]],
        *,
        until_caught_up: bool = False,
        idle: float | None = None,
    ) -> int:
        """As `Subscription.run`."""
        return await self._core.run(handler, until_caught_up=until_caught_up, idle=idle)

    async def parked(self) -> list[Parked]:
        """As `Subscription.parked`."""
        return await self._core.parked_events.all()

    async def replay_parked(self, handler: Callable[[Delivery], Awaitable[object]]) -> ParkedReport:
        """As `Subscription.replay_parked`."""
        return await self._core.parked_events.replay(handler)

    async def delete(self) -> None:
        """As `Subscription.delete`."""
        await self._core.delete()

    def stop(self) -> None:
        """As `Subscription.stop`."""
        self._core.stop()

    async def close(self) -> None:
        """As `Subscription.close`."""
        await self._core.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Items(Generic[T_co]):
    """No generator: one of those is over after a cancelled wait, this goes on."""

    def __init__(self, core: Subscribing, until_caught_up: bool, idle: float | None, *, marks: bool) -> None:
        core.check_not_shared()
        self._core = core
        self._ready: Iterator[Any] = core.ready()
        self._until_caught_up = until_caught_up
        self._idle = idle
        self._marks = marks
        self._is_over = False
        if until_caught_up:
            core.catch_up_anew()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        for delivery in self._ready:
            return delivery
        return await self._next()

    async def _next(self) -> T_co:
        core = self._core
        while not self._is_over:
            item = await core.next(idle=self._idle)
            if item is None:
                break
            if isinstance(item, CaughtUp):
                self._is_over = self._until_caught_up
                self._ready = iter(()) if self._is_over else core.ready()
                if not self._marks:
                    continue
            else:
                self._ready = core.ready()
            return cast("T_co", item)
        raise StopAsyncIteration
