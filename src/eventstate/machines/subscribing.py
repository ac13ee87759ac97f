"""What both subscriptions do, written once: replay, the mark, live; saved positions, retries and parking."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Literal, TypeVar

from eventstate.core.backoff import full_jitter
from eventstate.errors import (
    ConfigurationError,
    StoreUnavailableError,
    TransactionConflictError,
)
from eventstate.log.following import (
    Followed,
    Follower,
    Place,
    check_place,
    check_reached,
    end_of,
    follow,
    place_of,
)
from eventstate.log.parking import Parked, parks
from eventstate.log.positions import Definition, Positions, delete_saved
from eventstate.machines.declared import Declared
from eventstate.machines.deliveries import CaughtUp, Delivery, Waiting, deliveries_of, first_of, waiting
from eventstate.machines.parked_events import Handler, ParkedEvents
from eventstate.machines.progress import Progress, SharedProgress
from eventstate.machines.subscription_settings import Settings, check_settings
from eventstate.stores.base import Store

POLL_SECONDS: Final = 5.0
"""How long a wait lasts at most: wake-ups are hints, and the truth is read back."""
QUIET_POLL_SECONDS: Final = 30.0
"""The same where nothing can come between a change and its wake-up: of many who wait, each look costs."""
PAGE: Final = 256
"""Entries read at once: what a read costs is little for each, and what waits in memory is soon used."""
SAVE_SECONDS: Final = 1.0
PARTITIONS: Final = 16
LONGEST_PAUSE: Final = 1.0
"""Between two tries: whoever stops a subscription waits for this at most."""

T = TypeVar("T")


class Subscribing:
    """One subscription of one process. One caller at a time, but for `stop`."""

    def __init__(self, store: Store, home: str, machines: Declared, settings: Settings) -> None:
        check_settings(settings)
        self._store = store
        self._runtime = store.runtime
        self._machines = machines
        self.settings = settings
        self.selection = settings.selection
        is_ordered = self.selection.state_id is None and store.capabilities.feed_order == "store"
        self.order: Literal["store", "stream"] = "store" if is_ordered else "stream"
        self.definition: Definition | None = None
        self._progress: Progress | None = None
        self._parked: ParkedEvents | None = None
        if settings.name is not None:
            partitions = PARTITIONS if settings.shared else 1
            self.definition = Definition(settings.name, home, self.selection, self.order, partitions)
            positions = Positions(store, self.definition)
            self._progress = SharedProgress(store, positions) if settings.shared else Progress(positions)
            self._parked = ParkedEvents(store, self.definition, self.selection, machines)
        self._follower: Follower | None = None
        self._buffer: deque[Waiting] = deque()
        """What was read and not handed over yet; first what is left of the entry that is being handed over."""
        self._poll = QUIET_POLL_SECONDS if store.capabilities.feed_order == "store" else POLL_SECONDS
        self._is_more = True
        self._is_marked = False
        self._is_stopped = False
        self._away_since: float | None = None
        """Since when, by the monotonic clock, the store has given no answer, over many short waits too."""

    # Opening

    async def open(self) -> None:
        """Go to the place to begin at: the saved one, or else ``start``."""
        if self._follower is None:
            await self._patiently(self._open)

    async def _open(self) -> None:
        if self._follower is not None:
            return
        progress = self._progress
        if progress is None:
            self._follower = follow(self._store, self.selection, await self._start())
            return
        await progress.positions.load()
        if progress.positions.is_new:
            try:
                await progress.positions.create(await self._start())
            except TransactionConflictError:
                await progress.positions.load()
        await progress.begin()
        self._follower = follow(self._store, self.selection, progress.place)

    async def _start(self) -> Place:
        place = await self._asked()
        # Before anything is saved:
        check_place(self._store, self.selection, place)
        if self.settings.start not in ("beginning", "now"):
            await check_reached(self._store, place)
        return place

    async def _asked(self) -> Place:
        start, selection = self.settings.start, self.selection
        if isinstance(start, Place):
            return start
        if start == "beginning":
            return Place()
        if start == "now":
            return await end_of(self._store, selection)
        if isinstance(start, int) and selection.state_id is not None:
            return Place(None, {(selection.governor or "", selection.state_id): start})
        return place_of(start)

    # Reading

    def check_not_shared(self) -> None:
        """Raise for iterating over a subscription that is shared."""
        if self.settings.shared:
            raise ConfigurationError("a shared subscription is used with run(): only so it knows who handles what")

    @property
    def is_caught_up(self) -> bool:
        """Whether everything committed before it began has been delivered."""
        return self._is_marked

    @property
    def place(self) -> Place:
        """Up to where has been read; what is still in memory not counted."""
        follower = self._follower
        if follower is None:
            return Place()
        left = self._buffer
        if not left:
            return follower.place
        if self.order == "store":
            return Place((left[0].position or 1) - 1)
        versions = dict(follower.place.versions)
        for item in reversed(left):
            versions[item.stream] = first_of(item) - 1
        return Place(None, versions)

    def catch_up_anew(self) -> None:
        """Have the mark come (again) after everything that is committed by now."""
        self._is_marked = False
        self._is_more = True
        if self._follower is not None:
            self._follower.catch_up_anew()

    def ready(self) -> Iterator[Delivery]:
        """The events that are in memory already, each taken from there as it is handed over."""
        buffer = self._buffer
        # In store order nothing need be noted as it is handed over.
        noted = self._progress if self.order == "stream" else None
        while buffer and not self._is_stopped:
            item = buffer.popleft()
            if isinstance(item, Followed):
                item, *rest = deliveries_of(item, self.selection, self._machines)
                buffer.extendleft(reversed(rest))
            if noted is not None:
                noted.delivered(item)
            yield item

    @property
    def _is_empty(self) -> bool:
        """Whether everything that was read has been handed over."""
        return not self._buffer

    async def next(self, *, idle: float | None = None) -> Delivery | CaughtUp | None:
        """The next event, waited for; the mark, once; None when stopped, or after ``idle`` seconds without either."""
        await self.open()
        until = None if idle is None else self._runtime.monotonic() + idle
        while not self._is_stopped:
            delivery = next(self.ready(), None)
            if delivery is not None:
                return delivery
            follower = self._current()
            if follower.is_caught_up and not self._is_marked:
                self._is_marked = True
                return CaughtUp(follower.place)
            if self._is_more:
                if not await self._fill(follower, until):
                    return None
                continue
            left = self._poll if until is None else min(until - self._runtime.monotonic(), self._poll)
            if left <= 0:
                return None
            await self._wait(follower, left)
        return None

    def _current(self) -> Follower:
        assert self._follower is not None
        return self._follower

    async def _wait(self, follower: Follower, seconds: float) -> None:
        await follower.wait(seconds)
        self._is_more = True

    async def _fill(self, follower: Follower, until: float | None) -> bool:
        """Read on; False when stopped, and where the store was away until then."""
        reading = await self._patiently(lambda: follower.read(PAGE), until)
        if reading is None:
            return False
        self._is_more = reading.more
        entries = reading.entries if self._progress is None else self._progress.taken(reading.entries)
        self._buffer.extend(waiting(entries, self._machines))
        return True

    async def _patiently(self, call: Callable[[], Awaitable[T]], until: float | None = None) -> T | None:
        """The result of a call to the store, made again while the store is unavailable; None when stopped, or then."""
        try:
            return await self._insistently(call, until)
        except StoreUnavailableError:
            if self._is_stopped or self._away_since is not None:
                return None
            raise  # out of patience

    async def _insistently(self, call: Callable[[], Awaitable[T]], until: float | None = None) -> T:
        """The same where there must be a result: it raises when stopped, and then."""
        failures = 0
        while True:
            try:
                result = await call()
            except StoreUnavailableError:
                now = self._runtime.monotonic()
                since = self._away_since = now if self._away_since is None else self._away_since
                if now >= since + self.settings.patience:
                    self._away_since = None
                    raise
                if self._is_stopped or (until is not None and now >= until):
                    raise
                failures += 1
                pause = full_jitter(failures, self._runtime.random(), cap=LONGEST_PAUSE)
                await self._runtime.sleep(pause if until is None else min(pause, until - now))
            else:
                self._away_since = None
                return result

    # Acknowledging

    async def ack(self, delivery: Delivery | None) -> None:
        """Save that an event, or everything delivered so far, has been dealt with."""
        progress = self._named("acknowledge")
        self.check_not_shared()
        await self._insistently(self._open)
        if delivery is None:
            progress.note_delivered(self.place if self.order == "store" else Place())
            if self._is_empty:
                progress.note_all(self._current().moved())
        else:
            progress.note(delivery)
        await self._insistently(progress.save)

    def _named(self, what: str) -> Progress:
        if self._progress is None:
            raise ConfigurationError(f"a subscription without a name saves nothing that one could {what}: name it")
        return self._progress

    # Handling

    async def run(self, handler: Handler, *, until_caught_up: bool, idle: float | None) -> int:
        """Hand every event to a handler, until stopped; how many it took."""
        handled = 0
        await self.open()
        if until_caught_up:
            self.catch_up_anew()
        if self._parked is not None:
            self._parked.forget()
        progress = self._progress
        try:
            until = None if idle is None else self._runtime.monotonic() + idle
            ready = self.ready()
            while not self._is_stopped:
                await self._share()
                item = next(ready, None)
                if item is None:
                    item = await self.next(idle=self._turn(until))
                    ready = self.ready()
                if isinstance(item, Delivery):
                    handled += await self._handle_or_keep(item, handler)
                    until = None if idle is None else self._runtime.monotonic() + idle
                    continue
                if progress is not None and self._is_empty:
                    progress.note_all(self._current().moved())
                if isinstance(item, CaughtUp):
                    if until_caught_up:
                        break
                elif until is not None and self._runtime.monotonic() >= until:
                    break
                if progress is not None and progress.is_due(self._runtime.monotonic(), SAVE_SECONDS):
                    await self._patiently(progress.save)
        finally:
            if progress is not None:
                await progress.end()
                self._follower_ends_where_shared()
        return handled

    def _turn(self, until: float | None) -> float | None:
        """How long to wait for the next event before something else is looked after."""
        progress = self._progress
        turns = [self._poll] if progress is None else [progress.seconds_left(self._runtime.monotonic(), SAVE_SECONDS)]
        if until is not None:
            turns.append(until - self._runtime.monotonic())
        return None if progress is None and until is None else max(0.0, min(turns))

    async def _share(self) -> None:
        """Where the subscription is shared: look whose turn it is, and begin anew where that has changed."""
        progress = self._progress
        if isinstance(progress, SharedProgress) and await self._patiently(progress.look):
            self._buffer.clear()
            self._current().close()
            self._follower = follow(self._store, self.selection, progress.place)
            self._is_more = True
            self.parked_events.forget()  # perhaps events of streams that are this member's now

    def _follower_ends_where_shared(self) -> None:
        """What was read for parts that are given back now is not for this member any more."""
        if isinstance(self._progress, SharedProgress) and self._follower is not None:
            self._buffer.clear()
            self._follower.close()
            self._follower = None
            self._is_more = True

    async def _handle_or_keep(self, delivery: Delivery, handler: Handler) -> int:
        """Hand one event over; where that ends early, it is the next one again."""
        try:
            handled = await self._handle(delivery, handler)
        except BaseException:
            delivery.attempt = 1
            self._buffer.appendleft(delivery)
            raise
        return handled

    async def _handle(self, delivery: Delivery, handler: Handler) -> int:
        """Hand one event over, as often as is allowed; 1 if it was taken."""
        progress, settings = self._progress, self.settings
        while not self._is_stopped:
            if progress is not None and not progress.may_handle(delivery):
                return 0
            if progress is not None and settings.on_poison == "hold":
                blocked = await self._patiently(lambda: self.parked_events.first_before(delivery))
                if blocked is None:
                    continue
                if blocked:
                    await self._hold(progress, delivery, blocked)
                    return 0
            try:
                await handler(delivery)
            except Exception as error:
                if delivery.attempt >= settings.attempts:
                    if settings.on_poison == "stop" or progress is None:
                        raise
                    await self._park(progress, delivery, delivery.told(error))
                    return 0
                await self._runtime.sleep(full_jitter(delivery.attempt, self._runtime.random(), cap=LONGEST_PAUSE))
                delivery.attempt += 1
            else:
                if progress is not None:
                    progress.note(delivery)
                    now = self._runtime.monotonic()
                    if progress.noted >= settings.save_every or progress.is_due(now, SAVE_SECONDS):
                        await self._patiently(progress.save)
                return 1
        self._buffer.appendleft(delivery)  # stopped before it was taken
        return 0

    async def _park(self, progress: Progress, delivery: Delivery, problem: str) -> None:
        parked = Parked(delivery.governor, delivery.state_id, delivery.version, delivery.attempt, problem)
        await self._set_aside(progress, delivery, parked)
        self.parked_events.add(parked)

    async def _hold(self, progress: Progress, delivery: Delivery, first: int) -> None:
        problem = f"held back until version {first} is handled"
        parked = Parked(delivery.governor, delivery.state_id, delivery.version, 0, problem, True)
        await self._set_aside(progress, delivery, parked)

    async def _set_aside(self, progress: Progress, delivery: Delivery, parked: Parked) -> None:
        progress.park(delivery, parks(progress.positions.definition, parked))
        await self._patiently(progress.save)

    @property
    def parked_events(self) -> ParkedEvents:
        """What was set aside.

        Raises:
            ConfigurationError: it has no name.
        """
        self._named("park")
        assert self._parked is not None
        return self._parked

    async def delete(self) -> None:
        """Forget what was saved; the next one of this name begins anew."""
        progress = self._named("delete")
        await self.close()
        await delete_saved(self._store, progress.positions.definition)

    # Ending

    def stop(self) -> None:
        """End what waits, and what would come next; from any thread."""
        self._is_stopped = True
        if self._follower is not None:
            self._follower.wake()

    async def close(self) -> None:
        """Let go of everything."""
        self._is_stopped = True
        if self._progress is not None:
            await self._progress.leave()
        if self._follower is not None:
            self._follower.close()
