"""The sync face of subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Self

from eventstate.errors import InvalidInputError
from eventstate.log.following import Place
from eventstate.log.parking import Parked
from eventstate.machines.deliveries import CaughtUp, Delivery
from eventstate.machines.machine import Machine
from eventstate.machines.parked_events import ParkedReport
from eventstate.machines.persister import StateMachinePersister
from eventstate.machines.subscribing import Subscribing
from eventstate.machines.subscription_settings import PATIENCE_SECONDS, Settings, selection_of
from eventstate.runtime.blocking import drive


class Subscription:
    """Delivers events: those of the past first, then a mark, then new ones as they are committed. Nothing is missed.

    Iterate over it for events, or hand each to a handler with `run`. With a name it remembers in the store how far it
    has come, and the next one of that name goes on from there: each event is delivered at least once. It keeps a page
    of events in memory and reads the next when that is used up, so it never slows those who write.

    Events of one stream come in their order. On SQLite and in memory the events of all streams come in the order of
    their commits (``order`` is ``store``); on Firestore they don't (``order`` is ``stream``), nor for ``state_id``,
    which is about one stream anyway.

    One thread at a time may use it, but for `stop`.

    Args:
        persister: whose governor and machines.
        name: under which its place is saved, 1 to 64 letters, digits, ``_``, ``-`` or ``.``; None saves nothing.
        state_id: only this state's events.
        machines: only those of these machines, or names of machines.
        actions: only events of these types.
        all_governors: those of all governors of the store.
        start: where to begin when nothing is saved: ``beginning``, ``now``, a `place`, or a number: a position in
            store order, for ``state_id`` a version.
        shared: several of this name, in any processes, share the streams; each stream is handled in order, by one
            at a time. For `run` only.
        attempts: how often `run` calls the handler for one event.
        on_poison: what `run` does with an event whose handler has failed so often: ``park`` sets it aside and goes on,
            though later events of its stream come without it; ``hold`` sets later events of its stream aside as well,
            until `replay_parked` has brought it through; ``stop`` raises what the handler raised.
        save_every: `run` saves its place after so many events, and at the latest a second after one.
        patience: seconds for which a store that is unavailable is waited for.

    Raises:
        ConfigurationError: arguments that contradict each other; later, a name that was used for something else.
        InvalidInputError, InvalidIdError: an argument that can't be used; later, a ``start`` that is not reached yet.
    """

    def __init__(
        self,
        persister: StateMachinePersister,
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
        """``store`` where events of all streams come in the order of their commits; else ``stream``."""
        return self._core.order

    @property
    def place(self) -> Place:
        """Up to where events were delivered; ``start`` of another subscription, also as text (``str(place)``)."""
        return self._core.place

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was committed before it began has been delivered."""
        return self._core.is_caught_up

    def __iter__(self) -> Iterator[Delivery]:
        """Events for ever, waiting for new ones; ends after `stop`."""
        return self.deliveries()

    def deliveries(self, *, until_caught_up: bool = False, idle: float | None = None) -> Iterator[Delivery]:
        """Events one by one. A second call goes on where the first one stopped.

        Args:
            until_caught_up: end when everything that was committed before this call has been delivered.
            idle: end when nothing has come for so many seconds.

        Raises:
            StoreError: the store can't work, or is unavailable for longer than ``patience``.
        """
        core = self._begin(until_caught_up)
        while True:
            yield from core.ready()
            item = drive(core.next(idle=idle))
            if isinstance(item, Delivery):
                yield item
            elif item is None or until_caught_up:
                return

    def _begin(self, until_caught_up: bool) -> Subscribing:
        core = self._core
        core.check_not_shared()
        if until_caught_up:
            core.catch_up_anew()
        return core

    def marked(self, *, until_caught_up: bool = False, idle: float | None = None) -> Iterator[Delivery | CaughtUp]:
        """As `deliveries`, with one `CaughtUp` among them: before it the past, after it what is new."""
        core = self._begin(until_caught_up)
        while True:
            yield from core.ready()
            item = drive(core.next(idle=idle))
            if item is None:
                return
            yield item
            if until_caught_up and isinstance(item, CaughtUp):
                return

    def ack(self, delivery: Delivery | None = None) -> None:
        """Save that an event, and what was delivered before it, has been dealt with; it is saved when this returns.

        Where ``order`` is ``stream``: what was delivered before it in its stream. Without an argument: everything
        delivered so far.

        Raises:
            ConfigurationError: it has no name.
            TransactionConflictError: another process works on the same subscription.
        """
        drive(self._core.ack(delivery))

    def run(
        self, handler: Callable[[Delivery], object], *, until_caught_up: bool = False, idle: float | None = None
    ) -> int:
        """Call ``handler`` with each event, and save the place after those for which it returned; how many.

        A handler that raises is called again for the same event, after a pause, up to ``attempts`` times. After a
        crash the last events are delivered again. Ends after `stop`, or as in `deliveries`.

        Raises:
            TransactionConflictError: another process works on the same subscription.
            StoreError: the store can't work, or is unavailable for longer than ``patience``.
        """

        async def call(delivery: Delivery) -> None:
            handler(delivery)

        return drive(self._core.run(call, until_caught_up=until_caught_up, idle=idle))

    def parked(self) -> list[Parked]:
        """The events that were set aside, by stream and version."""
        return drive(self._core.parked_events.all())

    def replay_parked(self, handler: Callable[[Delivery], object]) -> ParkedReport:
        """Call ``handler`` once with each parked event; those for which it returns are parked no more.

        An event that was held back waits on if an earlier one of its stream fails again.
        """

        async def call(delivery: Delivery) -> None:
            handler(delivery)

        return drive(self._core.parked_events.replay(call))

    def delete(self) -> None:
        """Forget its place and what it parked, and close it: the next one of this name begins anew."""
        drive(self._core.delete())

    def stop(self) -> None:
        """End what waits for events; from any thread, or from a handler."""
        self._core.stop()

    def close(self) -> None:
        """Let go of everything. What was not acknowledged will be delivered again."""
        drive(self._core.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
