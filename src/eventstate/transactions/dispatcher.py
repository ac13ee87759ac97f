"""The sync face of the outbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eventstate.errors import ConfigurationError
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store
from eventstate.transactions.dispatching import ATTEMPTS, Dispatching
from eventstate.transactions.outbox import DeliveryReport, Effect


class EffectDispatcher:
    """Delivers what `Transaction.on_commit` left, at least once each, the oldest first.

    A handler is called with an `Effect`. When it returns, the effect is done; when it raises, the effect is tried again
    at the next `deliver`, and parked after ``attempts`` failures, so that it is kept but holds up nobody. A process
    that dies between the two has it delivered again, with the same ``effect.key``: hand that key to whoever receives
    it. Of several dispatchers one delivers at a time.

    Args:
        store: from `open_store`.
        handlers: what to call, by the name given to ``on_commit``. An effect without a handler counts as failed.
        governor: whose effects.
        attempts: failures after which an effect is parked.
    """

    def __init__(
        self,
        store: Store,
        handlers: Mapping[str, Callable[[Effect], object]],
        *,
        governor: str = "default",
        attempts: int = ATTEMPTS,
    ) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncEffectDispatcher with it")
        self._dispatching = Dispatching(store, governor, attempts)
        self._handlers = dict(handlers)

    def deliver(self) -> DeliveryReport:
        """Deliver what waits now; call it again and again, or after each transaction.

        Raises:
            LeaseLostError: another dispatcher has taken over, since a handler took too long.
        """
        return drive(self._dispatching.deliver(self._handle))

    async def _handle(self, effect: Effect) -> None:
        self._handlers[effect.name](effect)

    def waiting(self) -> Mapping[str, int]:
        """How many effects are ``waiting``, and how many ``parked``."""
        return drive(self._dispatching.outbox.waiting())
