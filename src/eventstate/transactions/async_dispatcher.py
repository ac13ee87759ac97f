"""The asyncio face of the outbox: the methods of `EffectDispatcher`, awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from eventstate.errors import ConfigurationError
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store
from eventstate.transactions.dispatching import ATTEMPTS, Dispatching
from eventstate.transactions.outbox import DeliveryReport, Effect


class AsyncEffectDispatcher:
    """`EffectDispatcher` for asyncio; its store is one of `open_async_store`, its handlers are coroutines."""

    def __init__(
        self,
        store: Store,
        handlers: Mapping[str, Callable[[Effect], Awaitable[object]]],
        *,
        governor: str = "default",
        attempts: int = ATTEMPTS,
    ) -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use EffectDispatcher with it")
        self._dispatching = Dispatching(store, governor, attempts)
        self._handlers = dict(handlers)

    async def deliver(self) -> DeliveryReport:
        """As `EffectDispatcher.deliver`."""
        return await self._dispatching.deliver(self._handle)

    async def _handle(self, effect: Effect) -> None:
        await self._handlers[effect.name](effect)

    async def waiting(self) -> Mapping[str, int]:
        """As `EffectDispatcher.waiting`."""
        return await self._dispatching.outbox.waiting()
