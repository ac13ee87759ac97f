"""Subscriptions: the past, a mark, then what is new; nothing is missed, and each place is found again."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, cast

from eventstate.core.documents import CURSOR, Key
from eventstate.core.expected import ANY
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidIdError,
    InvalidInputError,
    TransactionConflictError,
    UnknownEventError,
)
from eventstate.log.following import EVERYTHING, Place, Selection, end_of, follow
from eventstate.log.pins import pins
from eventstate.log.positions import Positions, definition_of
from eventstate.machines.async_subscription import AsyncSubscription
from eventstate.machines.deliveries import CaughtUp, Delivery
from eventstate.machines.machine import Machine
from eventstate.machines.subscription import Subscription
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import (
    DOORS,
    GOVERNOR,
    TALLIES,
    Added,
    Doubled,
    Face,
    PersisterSuite,
    Tally,
    Turned,
    alter,
    entry_key,
)
from eventstate.testing.conformance.suite import case, raises, remove

Told = tuple[str, int]
"""A state id and a version."""


class Listener:
    """A subscription of either world; its methods are awaited."""

    def __init__(self, subscription: Subscription | AsyncSubscription) -> None:
        self.subscription = subscription

    @property
    def place(self) -> Any:
        return self.subscription.place

    async def take(self, count: int | None = None, **options: Any) -> list[Delivery]:
        """Events as they come; ``count`` of them, or until the caught-up mark."""
        if count is None:
            options = options or {"until_caught_up": True}
        found: list[Delivery] = []
        items = self.subscription.deliveries(**options)
        while count is None or len(found) < count:
            item = await self.next_of(items)
            if item is None:
                break
            found.append(item)
        return found

    async def marked(self, **options: Any) -> list[Delivery | CaughtUp]:
        items = self.subscription.marked(**options)
        found: list[Delivery | CaughtUp] = []
        while (item := await self.next_of(items)) is not None:
            found.append(item)
        return found

    async def next_of(self, items: Any) -> Any:
        if isinstance(items, AsyncIterator):
            return await anext(cast("AsyncIterator[Any]", items), None)
        return next(cast("Iterator[Any]", items), None)

    async def run(self, handler: Callable[[Delivery], None], **options: Any) -> int:
        handle = handler if isinstance(self.subscription, Subscription) else _awaited(handler)
        return await self.call("run", handle, **options)

    async def replay_parked(self, handler: Callable[[Delivery], None]) -> Any:
        handle = handler if isinstance(self.subscription, Subscription) else _awaited(handler)
        return await self.call("replay_parked", handle)

    async def call(self, name: str, *args: Any, **options: Any) -> Any:
        result = getattr(self.subscription, name)(*args, **options)
        return await result if inspect.isawaitable(result) else result


def _awaited(handler: Callable[[Delivery], None]) -> Any:
    async def handle(delivery: Delivery) -> None:
        handler(delivery)

    return handle


def told(deliveries: Sequence[Delivery]) -> list[Told]:
    return [(delivery.state_id, delivery.version) for delivery in deliveries]


class Failing:
    """A handler that fails for one state, ``times`` times, and notes what it is given."""

    def __init__(self, state_id: str, times: int = 1_000_000) -> None:
        self._state_id = state_id
        self._left = times
        self.calls: list[tuple[str, int, int]] = []

    def __call__(self, delivery: Delivery) -> None:
        self.calls.append((delivery.state_id, delivery.version, delivery.attempt))
        if delivery.state_id == self._state_id and self._left > 0:
            self._left -= 1
            raise ZeroDivisionError("as always")


class SubscriptionCases(PersisterSuite):
    """What subscriptions promise on every backend."""

    patience: ClassVar[float] = 20.0
    """Seconds after which an event counts as missed."""

    def listen(self, persister: Face, name: str | None = None, **options: Any) -> Listener:
        """A subscription of this test."""
        inner = persister.inner
        made: Any = Subscription if self.world.name == "sync" else AsyncSubscription
        return Listener(made(inner, name, **options))

    def open_with(self, **options: Any) -> tuple[Store, Face]:
        store = self.open()
        return store, self.persister(store, **options)

    def is_ordered(self, store: Store) -> bool:
        return store.capabilities.feed_order == "store"

    async def add(self, persister: Face, id: str, *marks: str) -> None:
        """Events of one commit."""
        await persister.append(TALLIES, id, *map(Added, marks), expected=ANY)

    # Order, completeness, the mark

    @case
    async def test_the_past_then_the_mark_then_what_is_new(self) -> None:
        _, persister = self.open_with()
        for number in range(4):
            await self.add(persister, str(number % 2), f"m{number}")
        listener = self.listen(persister)

        async def write_later() -> None:
            await self.runtime.sleep(0.2)
            await self.add(persister, "0", "late")
            await self.add(persister, "new", "first")

        async def listening() -> list[Delivery | CaughtUp]:
            began = self.runtime.monotonic()
            found: list[Delivery | CaughtUp] = []
            items = listener.subscription.marked(idle=self.patience)
            while len(found) < 7:
                item = await listener.next_of(items)
                assert item is not None, f"only {found}"
                found.append(item)
            assert self.runtime.monotonic() - began < self.patience / 2, "new events did not wake it"
            return found

        found, _ = await self.together([listening, cast("Any", write_later)])
        kinds = [isinstance(item, CaughtUp) for item in found]
        assert kinds == [False] * 4 + [True] + [False] * 2, "the mark comes once, after the past"
        events = [item for item in found if isinstance(item, Delivery)]
        assert sorted(told(events[:4])) == [("tally-0", 1), ("tally-0", 2), ("tally-1", 1), ("tally-1", 2)]
        assert sorted(told(events[4:])) == [("tally-0", 3), ("tally-new", 1)]
        assert listener.subscription.is_caught_up

    @case
    async def test_events_say_what_was_appended(self) -> None:
        _, persister = self.open_with()
        await persister.append(TALLIES, "1", Added("a", 3), expected=0, changed_by="kim", reason="why not")
        await persister.append(TALLIES, "1", Doubled("b"), expected=1)
        await persister.save_state("plain", {"x": 1}, expected=0)
        await persister.delete_state("plain", expected=1)
        found = {(d.state_id, d.version): d for d in await self.listen(persister).take()}
        first = found["tally-1", 1]
        assert (first.event, first.action, first.data) == (Added("a", 3), "Added", {"mark": "a", "amount": 3})
        assert (first.metadata.changed_by, first.metadata.reason) == ("kim", "why not")
        assert first.governor == GOVERNOR
        assert first.problem is None
        assert found["tally-1", 2].event == Doubled("b")
        assert found["plain", 1].data == {"x": 1}
        assert (found["plain", 1].event, found["plain", 2].action) == (None, "$deleted")
        history = await persister.history("plain")
        assert [step.timestamp for step in history] == [found["plain", n].timestamp for n in (1, 2)]

    @case
    async def test_no_event_is_missed_or_doubled_while_others_write(self) -> None:
        store, persister = self.open_with()
        writers = [self.persister(self.open(apart=True)) for _ in range(3)]
        each = 8
        total = each * len(writers) * 2

        async def write(number: int) -> list[Delivery]:
            for turn in range(each):
                await self.add(writers[number], f"own{number}", f"{number}.{turn}")
                await self.add(writers[number], "shared", f"{number}.{turn}")
            return []

        async def follow_all(start: Any) -> list[Delivery]:
            return await self.listen(persister, start=start).take(total, idle=self.patience)

        results = await self.together(
            [partial(follow_all, "beginning"), partial(follow_all, "beginning")]
            + [partial(write, number) for number in range(len(writers))]
        )
        for events in results[:2]:
            assert len(events) == total
            self.check_order(store, events)

    def check_order(self, store: Store, events: Sequence[Delivery]) -> None:
        """Fail unless these are whole streams, each in its order, and all in store order where there is one."""
        reached: dict[str, int] = {}
        for event in events:
            assert event.version == reached.get(event.state_id, 0) + 1, f"{event} after {reached}"
            reached[event.state_id] = event.version
        positions = [event.position for event in events]
        if self.is_ordered(store):
            assert positions == sorted(cast("list[int]", positions))
        else:
            assert set(positions) == {None}

    @case
    async def test_a_long_past_comes_in_pages(self) -> None:
        store, persister = self.open_with()
        for number in range(30):
            await self.add(persister, str(number % 3), *(f"{number}.{n}" for n in range(10)))
        events = await self.listen(persister).take()
        assert len(events) == 300
        self.check_order(store, events)

    @case
    async def test_followers_read_any_page_size(self) -> None:
        store, persister = self.open_with()
        for number in range(12):
            await self.add(persister, str(number % 3), f"{number}")
        for limit in (1, 2, 5, 100):
            follower = follow(store, Selection(GOVERNOR))
            found: list[Told] = []
            while not follower.is_caught_up:
                found += [(f.stream[1], f.version) for f in (await follower.read(limit)).entries]
            follower.close()
            assert sorted(found) == sorted((f"tally-{n % 3}", n // 3 + 1) for n in range(12))

    # What is wanted

    @case
    async def test_only_what_is_wanted_comes(self) -> None:
        store, persister = self.open_with()
        await self.add(persister, "1", "a")
        await persister.append(TALLIES, "1", Doubled("b"), Added("c"), expected=1)
        await persister.append(DOORS, "1", Turned("open"), expected=0)
        await persister.save_state("plain", {}, expected=0)
        other = self.persister(store, governor="other")
        await self.add(other, "1", "elsewhere")

        async def of(who: Face, **options: Any) -> list[Told]:
            return sorted(told(await self.listen(who, **options).take()))

        everything = [("door-1", 1), ("plain", 1), ("tally-1", 1), ("tally-1", 2), ("tally-1", 3)]
        assert await of(persister) == everything
        assert await of(persister, machines=[TALLIES]) == everything[2:]
        assert await of(persister, machines=["door", TALLIES]) == [everything[0], *everything[2:]]
        assert await of(persister, actions=["Added"]) == [("tally-1", 1), ("tally-1", 3)]
        assert await of(persister, machines=["door"], actions=["Added"]) == []
        assert await of(persister, state_id="tally-1", actions=["Doubled"]) == [("tally-1", 2)]
        assert await of(persister, state_id="nobody") == []
        assert await of(other) == [("tally-1", 1)]
        found = await self.listen(persister, all_governors=True).take()
        assert len(found) == 6
        assert {d.governor for d in found} == {GOVERNOR, "other"}

    @case
    async def test_a_place_moves_over_what_is_not_wanted(self) -> None:
        store, persister = self.open_with()
        listener = self.listen(persister, "doors", machines=[DOORS])
        for number in range(5):
            await self.add(persister, str(number % 2), "x")
        assert await listener.run(lambda _: None, until_caught_up=True) == 0
        await listener.call("close")
        place = (await self.saved(store, "doors")).place
        if self.is_ordered(store):
            assert place.position == 5
        listener = self.listen(persister, "doors", machines=[DOORS])
        assert await listener.take() == []

    @case
    async def test_one_state_is_followed_alone(self) -> None:
        _, persister = self.open_with()
        for mark in "abc":
            await self.add(persister, "1", mark)
            await self.add(persister, "2", mark)
        listener = self.listen(persister, state_id="tally-1", start=1)
        assert told(await listener.take()) == [("tally-1", 2), ("tally-1", 3)]
        assert listener.subscription.order == "stream"

        async def write_later() -> list[Delivery]:
            await self.runtime.sleep(0.1)
            await self.add(persister, "2", "d")
            await self.add(persister, "1", "d")
            return []

        found, _ = await self.together([partial(listener.take, 1, idle=self.patience), write_later])
        assert told(found) == [("tally-1", 4)]

    # Where to begin

    @case
    async def test_a_place_that_the_store_has_not_reached_is_refused(self) -> None:
        """It is one from before a restore: what comes up to it would never be seen."""
        store, persister = self.open_with()
        await self.add(persister, "1", "a", "b")
        ended = self.listen(persister)
        await ended.take()
        assert await self.listen(persister, start=ended.place).take() == []
        beyond = Place(9) if self.is_ordered(store) else Place(None, {(GOVERNOR, "tally-1"): 3})
        for options in ({"start": beyond}, {"start": 3, "state_id": "tally-1"}, {"start": 1, "state_id": "tally-9"}):
            for name in (None, "saved"):
                with raises(InvalidInputError) as caught:
                    await self.listen(persister, name, **options).take()
                assert "restored from an older copy" in str(caught.error)
        assert told(await self.listen(persister, "saved").take()) == [("tally-1", 1), ("tally-1", 2)]

    @case
    async def test_where_to_begin(self) -> None:
        store, persister = self.open_with()
        await self.add(persister, "1", "a")
        await self.add(persister, "2", "b")
        now = self.listen(persister, start="now")
        assert await now.take() == []
        first = self.listen(persister)
        await first.take(1)
        place = first.place
        for given in (place, str(place)):
            assert len(await self.listen(persister, start=given).take()) == 1
        await self.add(persister, "1", "c", "d")
        assert told(await now.take()) == [("tally-1", 2), ("tally-1", 3)]
        if self.is_ordered(store):
            assert told(await self.listen(persister, start=2).take()) == [("tally-1", 2), ("tally-1", 3)]

    @case
    async def test_the_end_of_a_store_is_found(self) -> None:
        store, persister = self.open_with()
        for number in range(9):
            await self.add(persister, "1", f"{number}")
            follower = follow(store, EVERYTHING, await end_of(store, EVERYTHING))
            while not follower.is_caught_up:
                assert not (await follower.read()).entries
            follower.close()

    # Saved places

    async def saved(self, store: Store, name: str) -> Positions:
        """The positions that a subscription of this governor has saved."""
        key = Key(CURSOR, GOVERNOR, f"subscription:{name}")
        document = (await store.get([key])).documents[key]
        positions = Positions(store, definition_of(document))
        await positions.load()
        return positions

    @case
    async def test_what_was_acknowledged_does_not_come_again(self) -> None:
        _, persister = self.open_with()
        for mark in "abcd":
            await self.add(persister, "1", mark)
        first = self.listen(persister, "reader")
        events = await first.take(3)
        await first.call("ack", events[1])
        await first.call("close")
        second = self.listen(persister, "reader")
        assert told(await second.take()) == [("tally-1", 3), ("tally-1", 4)], "all above the saved place, nothing else"
        await second.call("ack")
        await second.call("close")
        assert await self.listen(persister, "reader").take() == []
        assert len(await self.listen(persister, "another").take()) == 4

    @case
    async def test_events_of_one_commit_come_again_together(self) -> None:
        _, persister = self.open_with()
        await self.add(persister, "1", "a")
        await self.add(persister, "1", "b", "c", "d")
        first = self.listen(persister, "reader")
        events = await first.take(3)
        await first.call("ack", events[2])
        await first.call("close")
        again = await self.listen(persister, "reader").take()
        assert told(again) == [("tally-1", 2), ("tally-1", 3), ("tally-1", 4)]
        assert [event.is_last for event in again] == [False, False, True]

    @case
    async def test_a_place_is_saved_from_the_beginning(self) -> None:
        """So that ``now`` means the time at which the name was first used."""
        _, persister = self.open_with()
        await self.add(persister, "1", "a")
        first = self.listen(persister, "reader", start="now")
        assert await first.take() == []
        await first.call("close")
        await self.add(persister, "1", "b")
        assert told(await self.listen(persister, "reader", start="now").take()) == [("tally-1", 2)]

    @case
    async def test_a_handler_gets_each_once_unless_it_is_interrupted(self) -> None:
        _, persister = self.open_with()
        for number in range(7):
            await self.add(persister, str(number % 2), f"{number}")
        seen: list[Told] = []

        def count(delivery: Delivery) -> None:
            seen.append((delivery.state_id, delivery.version))

        assert await self.listen(persister, "reader").run(count, until_caught_up=True) == 7
        assert await self.listen(persister, "reader").run(count, until_caught_up=True) == 0
        assert len(set(seen)) == len(seen) == 7

    @case
    async def test_a_run_ends_when_it_is_stopped(self) -> None:
        _, persister = self.open_with()
        for number in range(5):
            await self.add(persister, "1", f"{number}")
        listener = self.listen(persister, "reader")

        def stop(delivery: Delivery) -> None:
            if delivery.version == 3:
                listener.subscription.stop()

        assert await listener.run(stop) == 3
        assert told(await self.listen(persister, "reader").take()) == [("tally-1", 4), ("tally-1", 5)]

    @case
    async def test_two_of_one_name_do_not_undo_each_other(self) -> None:
        _, persister = self.open_with()
        for mark in "abc":
            await self.add(persister, "1", mark)
        one, two = self.listen(persister, "reader"), self.listen(persister, "reader")
        ahead, behind = await one.take(3), await two.take(3)
        await one.call("ack", ahead[2])
        with raises(TransactionConflictError):
            await two.call("ack", behind[0])
        assert await self.listen(persister, "reader").take() == []

    @case
    async def test_what_is_deleted_begins_anew(self) -> None:
        _, persister = self.open_with()
        await self.add(persister, "1", "a")
        first = self.listen(persister, "reader")
        assert await first.run(Failing("tally-1"), until_caught_up=True) == 0
        assert len(await first.call("parked")) == 1
        await first.call("delete")
        second = self.listen(persister, "reader", machines=[TALLIES])
        assert len(await second.take()) == 1
        assert await second.call("parked") == []

    # Failures

    @case
    async def test_a_handler_that_fails_is_called_again(self) -> None:
        _, persister = self.open_with()
        await self.add(persister, "1", "a")
        await self.add(persister, "1", "b")
        failing = Failing("tally-1", times=2)
        listener = self.listen(persister, "reader")
        assert await listener.run(failing, until_caught_up=True) == 2
        assert failing.calls == [("tally-1", 1, 1), ("tally-1", 1, 2), ("tally-1", 1, 3), ("tally-1", 2, 1)]
        assert await listener.call("parked") == []

    @case
    async def test_a_poison_event_is_set_aside_and_tried_later(self) -> None:
        _, persister = self.open_with()
        await self.add(persister, "bad", "a")
        await self.add(persister, "good", "b")
        listener = self.listen(persister, "reader", attempts=2)
        failing = Failing("tally-bad")
        assert await listener.run(failing, until_caught_up=True) == 1
        assert [call for call in failing.calls if call[0] == "tally-bad"] == [("tally-bad", 1, 1), ("tally-bad", 1, 2)]
        await listener.call("close")
        second = self.listen(persister, "reader", attempts=2)
        assert await second.take() == [], "its place is after it"
        (parked,) = await second.call("parked")
        assert (parked.governor, parked.state_id, parked.version) == (GOVERNOR, "tally-bad", 1)
        assert (parked.attempts, parked.problem) == (2, "ZeroDivisionError: as always")
        report = await second.replay_parked(Failing("tally-bad"))
        assert (report.handled, report.failed) == (0, 1)
        assert [item.attempts for item in await second.call("parked")] == [3]
        healed = Failing("nobody")
        report = await second.replay_parked(healed)
        assert (report.handled, report.failed) == (1, 0)
        assert healed.calls == [("tally-bad", 1, 4)]
        assert await second.call("parked") == []

    @case
    async def test_later_events_of_its_stream_are_held_back(self) -> None:
        _, persister = self.open_with()
        await self.add(persister, "bad", "a")
        await self.add(persister, "bad", "b", "c", "d")
        await self.add(persister, "good", "e")
        open_for = 2
        seen: list[Told] = []

        def handle(delivery: Delivery) -> None:
            if delivery.state_id == "tally-bad" and delivery.version > open_for:
                raise ZeroDivisionError
            seen.append((delivery.state_id, delivery.version))

        async def parked() -> list[tuple[int, int, bool]]:
            return [(item.version, item.attempts, item.held) for item in await listener.call("parked")]

        listener = self.listen(persister, "reader", attempts=2, on_poison="hold")
        assert await listener.run(handle, until_caught_up=True) == 3
        assert sorted(seen) == [("tally-bad", 1), ("tally-bad", 2), ("tally-good", 1)]
        assert await parked() == [(3, 2, False), (4, 0, True)]
        await listener.call("close")
        await self.add(persister, "bad", "f")
        await self.add(persister, "good", "g")
        listener = self.listen(persister, "reader", attempts=2, on_poison="hold")
        assert await listener.run(handle, until_caught_up=True) == 1, "another process holds them back, too"
        assert await parked() == [(3, 2, False), (4, 0, True), (5, 0, True)]
        report = await self.listen(persister, "reader").replay_parked(handle)
        assert (report.handled, report.failed) == (0, 1), "nothing passes the first one, whoever tries"
        open_for = 4
        report = await listener.replay_parked(handle)
        assert (report.handled, report.failed) == (2, 1)
        assert await parked() == [(5, 1, True)]
        open_for = 9
        await self.add(persister, "bad", "h")
        assert await listener.run(handle, until_caught_up=True) == 0
        report = await listener.replay_parked(handle)
        assert (report.handled, report.failed) == (2, 0)
        await self.add(persister, "bad", "i")
        assert await listener.run(handle, until_caught_up=True) == 1, "once they are through it goes on"
        assert [version for id, version in seen if id == "tally-bad"] == [1, 2, 3, 4, 5, 6, 7]
        assert await parked() == []

    @case
    async def test_or_everything_stops_at_it(self) -> None:
        _, persister = self.open_with()
        for mark in "abc":
            await self.add(persister, "1", mark)
        listener = self.listen(persister, "reader", attempts=2, on_poison="stop")

        def fail_at_b(delivery: Delivery) -> None:
            if delivery.version == 2:
                raise ZeroDivisionError

        for _ in range(2):
            with raises(ZeroDivisionError):
                await listener.run(fail_at_b, until_caught_up=True)
        await listener.call("close")
        second = self.listen(persister, "reader", on_poison="stop")
        assert told(await second.take()) == [("tally-1", 2), ("tally-1", 3)]
        assert await second.call("parked") == []

    @case
    async def test_an_event_that_can_not_be_read_comes_all_the_same(self) -> None:
        store, persister = self.open_with()
        await self.add(persister, "1", "a")
        await persister.append(TALLIES, "1", Doubled("b"), expected=1)
        await self.add(persister, "1", "c")
        older: Machine[Tally, Any] = Machine("tally", Tally(), lambda tally, _: tally, events=[Added])
        found = await self.listen(self.persister(store, machines=[older])).take()
        assert told(found) == [("tally-1", 1), ("tally-1", 2), ("tally-1", 3)]
        assert [event.problem is None for event in found] == [True, False, True]
        assert found[1].data == {"mark": "b"}
        with raises(UnknownEventError):
            _ = found[1].event

    @case
    async def test_damage_is_told_where_it_is(self) -> None:
        store, persister = self.open_with()
        for id in "12":
            for mark in "abc":
                await self.add(persister, id, mark)
        await alter(store, entry_key("tally-1", 2), b'"mark":"b"', b'"mark":"B"')
        found = await self.listen(persister, actions=["Added"]).take()
        assert sorted(told(found)) == [(f"tally-{id}", n) for id in "12" for n in (1, 2, 3)]
        damaged = {(d.state_id, d.version) for d in found if isinstance(d.problem, CorruptionError)}
        assert ("tally-1", 2) in damaged
        assert not [key for key in damaged if key[0] == "tally-2"]

    # Sharing

    @case
    async def test_members_share_the_streams(self) -> None:
        store, persister = self.open_with()
        streams, each = 12, 5
        for turn in range(each):
            for number in range(streams):
                await self.add(persister, f"s{number}", f"{turn}")
        handled: list[Told] = []
        members = [self.listen(self.persister(store), "team", shared=True) for _ in range(3)]

        async def work(member: Listener) -> int:
            return await member.run(lambda d: handled.append((d.state_id, d.version)), idle=3.0)

        counts = await self.together([partial(work, member) for member in members])
        assert sum(counts) == len(handled)
        assert set(handled) == {(f"tally-s{n}", v) for n in range(streams) for v in range(1, each + 1)}
        assert len(handled) == streams * each, "handed over twice though nobody failed"
        for number in range(streams):
            versions = [version for id, version in handled if id == f"tally-s{number}"]
            assert versions == sorted(versions)
        late = self.listen(persister, "team", shared=True)
        assert await late.run(lambda _: None, until_caught_up=True) == 0

    @case
    async def test_what_is_handled_under_a_lock_can_be_fenced(self) -> None:
        _, persister = self.open_with()
        await self.add(persister, "1", "a")
        resources: list[str] = []

        def note(delivery: Delivery) -> None:
            assert delivery.lock is not None
            assert not delivery.lock.is_lost
            resources.append(delivery.lock.resource)

        await self.listen(persister, "team", shared=True).run(note, until_caught_up=True)
        assert len(resources) == 1
        with raises(ConfigurationError):
            await self.listen(persister, "team", shared=True).take()
        with raises(ConfigurationError):
            await self.listen(persister, "team").take()

    # What pruning must leave

    @case
    async def test_what_is_still_to_be_read_is_pinned(self) -> None:
        store, persister = self.open_with()
        for mark in "abcd":
            await self.add(persister, "1", mark)
            await self.add(persister, "2", mark)
        assert (await pins(store, GOVERNOR)).first_unread("tally-1") is None
        reader = self.listen(persister, "reader", machines=[TALLIES])
        events = await reader.take()
        last = next(event for event in events if (event.state_id, event.version) == ("tally-1", 2))
        for event in events[: events.index(last) + 1]:
            await reader.call("ack", event)
        found = await pins(store, GOVERNOR)
        assert found.first_unread("tally-1") == 3
        assert found.first_unread("tally-2") is not None
        assert found.first_unread("door-1") in (None, 1)
        await reader.call("ack")
        assert (await pins(store, GOVERNOR)).first_unread("tally-1") in (None, 5)
        one = self.listen(persister, "one", state_id="tally-2", start=1)
        await one.take(1)
        assert (await pins(store, GOVERNOR)).first_unread("tally-2") == 2

    # Bad input

    @case
    async def test_what_can_not_be_used_is_refused_and_nothing_written(self) -> None:
        store, persister = self.open_with()
        wrong: list[tuple[type[Exception], dict[str, Any]]] = [
            (InvalidIdError, {"name": "no/slash"}),
            (InvalidIdError, {"name": ""}),
            (InvalidIdError, {"name": "x" * 65}),
            (InvalidInputError, {"machines": "tally"}),
            (InvalidInputError, {"actions": []}),
            (InvalidInputError, {"state_id": "tally-1", "machines": ["tally"]}),
            (InvalidInputError, {"state_id": "tally-1", "all_governors": True}),
            (InvalidInputError, {"on_poison": "skip"}),
            (InvalidInputError, {"attempts": 0}),
            (InvalidInputError, {"save_every": 0}),
            (InvalidInputError, {"start": None}),
            (ConfigurationError, {"shared": True}),
            (ConfigurationError, {"shared": True, "name": "x", "state_id": "tally-1"}),
        ]
        for error, options in wrong:
            with raises(error):
                self.listen(persister, **options)
        with raises(InvalidInputError):
            await self.listen(persister, start="nowhere").take()
        with raises(ConfigurationError):
            await self.listen(persister).call("ack")
        elsewhere = {(GOVERNOR, "tally-1"): 1} if self.is_ordered(store) else {}
        for options in (
            {"start": Place(7 if not elsewhere else None, elsewhere)},
            {"state_id": "x", "start": Place(7)},
        ):
            with raises(ConfigurationError):
                await self.listen(persister, "elsewhere", **options).take()
        first = self.listen(persister, "reader", actions=["Added"])
        await first.take()
        with raises(ConfigurationError):
            await self.listen(persister, "reader", actions=["Doubled"]).take()
        page = await store.scan(CURSOR, GOVERNOR)
        assert [document.key.id for document in page.documents] == ["subscription:reader"]

    @case
    async def test_a_missing_entry_is_no_silence(self) -> None:
        """One that somebody has removed from the middle shows at the one after it."""
        store, persister = self.open_with()
        for mark in "abc":
            await self.add(persister, "1", mark)
        await remove(store, entry_key("tally-1", 2))
        found = await self.listen(persister).take()
        assert told(found) == [("tally-1", 1), ("tally-1", 3)]
        assert isinstance(found[1].problem, CorruptionError)
