"""Parked events: set aside in the commit that moves the place past them, kept from pruning, and found again."""

from __future__ import annotations

import asyncio
from binascii import crc32
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventstate import (
    ANY,
    AsyncStateMachinePersister,
    AsyncSubscription,
    Event,
    StateMachinePersister,
    Store,
    Subscription,
    open_async_store,
    open_store,
)
from eventstate.core.documents import CURSOR, ENTRY, Batch, Delete, Key, Page, Require
from eventstate.log.pins import pins
from eventstate.machines.deliveries import Delivery
from eventstate.runtime.blocking import drive
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.testing.unordered import UnorderedStore

PARTITIONS = 16


def filled(store: Store, *ids: str, events: int = 3) -> StateMachinePersister:
    persister = StateMachinePersister(store)
    for id in ids:
        for version in range(events):
            persister.append(id, Event("x", state=version), expected=version)
    return persister


def failing_at(version: int, error: Exception | None = None) -> Callable[[Delivery], None]:
    def handle(delivery: Delivery) -> None:
        if delivery.version == version:
            raise error or ZeroDivisionError

    return handle


def parks(batch: Batch) -> bool:
    return any("parked:" in operation.key.id for operation in batch.operations)


def all_of(persister: StateMachinePersister, name: str, **options: Any) -> tuple[list[int], list[int]]:
    """The versions that are delivered now, and those that are parked: nothing may be in neither of them."""
    seen: list[int] = []
    with Subscription(persister, name, **options) as subscription:
        subscription.run(lambda delivery: seen.append(delivery.version), until_caught_up=True)
        return seen, [parked.version for parked in subscription.parked()]


# Set aside and moved past in one commit, or neither


@pytest.mark.backend("memory")
def test_a_park_that_is_stopped_in_an_outage_loses_nothing() -> None:
    with open_store("memory://") as store:
        persister = filled(store, "a-1")
        is_down = True

        def script(batch: Batch) -> Fault:
            nonlocal is_down
            if is_down and parks(batch):
                subscription.stop()
                is_down = False
                return Fault.UNAVAILABLE
            return Fault.NONE

        faulty = cast("Store", FaultyStore(store, script))
        subscription = Subscription(StateMachinePersister(faulty), "mails", attempts=1)
        subscription.run(failing_at(2))
        assert not is_down
        seen, parked = all_of(persister, "mails")
        assert sorted({*seen, *parked}) == [2, 3]


@pytest.mark.backend("memory")
def test_a_park_that_is_cancelled_loses_nothing() -> None:
    async def run() -> tuple[list[int], list[int]]:
        async with open_async_store("memory://") as store:
            persister = AsyncStateMachinePersister(store)
            for version in range(3):
                await persister.append("a-1", Event("x", state=version), expected=version)
            faulty = FaultyStore(store)
            was_cancelled = False

            async def before(batch: Batch) -> None:
                nonlocal was_cancelled
                if parks(batch) and not was_cancelled:
                    was_cancelled = True
                    raise asyncio.CancelledError

            async def handle(delivery: Delivery) -> None:
                failing_at(2)(delivery)

            faulty.before_commit = before
            first = AsyncSubscription(AsyncStateMachinePersister(cast("Store", faulty)), "mails", attempts=1)
            with pytest.raises(asyncio.CancelledError):
                await first.run(handle, until_caught_up=True)
            seen: list[int] = []

            async def note(delivery: Delivery) -> None:
                seen.append(delivery.version)

            second = AsyncSubscription(persister, "mails")
            await second.run(note, until_caught_up=True)
            return seen, [parked.version for parked in await second.parked()]

    seen, parked = asyncio.run(run())
    assert sorted({*seen, *parked}) == [2, 3]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_any_text_of_an_error_can_be_kept(kind: str, sqlite_url: str) -> None:
    with open_store("memory://" if kind == "memory" else sqlite_url) as store:
        persister = filled(store, "a-1")
        name = b"\xff.pdf".decode("utf-8", "surrogateescape")
        with Subscription(persister, "mails", attempts=1) as subscription:
            subscription.run(failing_at(2, FileNotFoundError(name)), until_caught_up=True)
            (parked,) = subscription.parked()
        assert parked.version == 2
        assert parked.problem.endswith(".pdf")
        assert all_of(persister, "mails") == ([], [2])


@pytest.mark.backend("memory")
def test_a_member_that_lost_its_part_parks_nothing_in_it() -> None:
    def part(id: str) -> int:
        return crc32(f"default/{id}".encode()) % PARTITIONS

    lost = "a-1"
    other = next(id for id in (f"b-{n}" for n in range(50)) if part(id) != part(lost))
    with open_store("memory://") as store:
        persister = filled(store, other, events=2)
        filled(store, lost, events=1)
        member = Subscription(persister, "team", shared=True, attempts=1)

        def handle(delivery: Delivery) -> None:
            if delivery.state_id == lost:
                assert delivery.lock is not None
                delivery.lock.end()
                member.stop()
                raise ZeroDivisionError

        member.run(handle)
        member.close()
        seen: list[str] = []
        with Subscription(persister, "team", shared=True) as successor:
            successor.run(lambda delivery: seen.append(delivery.state_id), until_caught_up=True)
            assert successor.parked() == []
        assert seen == [lost]


# What is parked stays


class HookedStore(FaultyStore):
    """Something happens right after the first look at parked events."""

    def __init__(self, store: Store, happening: Callable[[], None]) -> None:
        super().__init__(store)
        self._happening: Callable[[], None] | None = happening

    async def scan(self, kind: str, owner: str, *, prefix: str = "", **options: Any) -> Page:
        page = await super().scan(kind, owner, prefix=prefix, **options)
        if kind == CURSOR and prefix.startswith("parked:") and self._happening is not None:
            happening, self._happening = self._happening, None
            happening()
        return page


@pytest.mark.backend("memory")
def test_what_is_parked_while_pins_are_read_is_pinned_all_the_same() -> None:
    with open_store("memory://") as store:
        persister = filled(store, "a-1")
        with Subscription(persister, "team", shared=True, attempts=1) as member:
            member.run(lambda _: None, until_caught_up=True)
        persister.append("a-1", Event("x", state=3), expected=3)

        def park() -> None:
            with Subscription(persister, "team", shared=True, attempts=1) as member:
                member.run(failing_at(4), until_caught_up=True)

        hooked = cast("Store", HookedStore(store, park))
        assert drive(pins(hooked, "default")).first_unread("a-1") == 4


@pytest.mark.backend("memory")
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 2, 1)])
def test_a_parked_event_that_is_gone_is_not_replaced_by_another(sizes: Sequence[int]) -> None:
    with open_store("memory://") as store:
        persister, version = StateMachinePersister(store), 0
        for size in sizes:
            persister.append("a-1", *[Event("x", state=0)] * size, expected=version)
            version += size
        with Subscription(persister, "mails", attempts=1) as subscription:
            subscription.run(failing_at(2), until_caught_up=True)
            gone = Key(ENTRY, "default", "a-1", 1 + sizes[1])
            drive(store.commit(Batch("t", [Delete(gone, Require.EXISTS)])))
            seen: list[int] = []
            report = subscription.replay_parked(lambda delivery: seen.append(delivery.version))
            assert (seen, report.handled, report.failed) == ([], 0, 1)
            (parked,) = subscription.parked()
            assert (parked.version, parked.attempts) == (2, 2)
            assert "the parked event is missing" in parked.problem


# Held back


@pytest.mark.backend("memory")
def test_only_events_of_the_same_stream_are_held_back() -> None:
    """However much their ids look like its own."""
    with open_store("memory://") as store:
        persister = StateMachinePersister(store)
        for id in ("a-1:", "a-1", "a-1:0", "z", "a-1:", "a-1", "a-1:0", "a-10"):
            persister.append(id, Event("x", state=0), expected=ANY)
        poisoned = {"a-1:", "a-1", "a-1:0"}
        seen: list[tuple[str, int]] = []

        def handle(delivery: Delivery) -> None:
            if delivery.state_id in poisoned:
                raise ZeroDivisionError
            seen.append((delivery.state_id, delivery.version))
            if delivery.state_id == "z":
                poisoned.remove("a-1")
                with Subscription(persister, "mails") as other:
                    assert other.replay_parked(handle) == (1, 2)

        with Subscription(persister, "mails", attempts=1, on_poison="hold", save_every=1) as subscription:
            subscription.run(handle, until_caught_up=True)
            parked = [(p.state_id, p.version, p.held) for p in subscription.parked()]
        assert sorted(parked) == [(id, n, n == 2) for id in ("a-1:", "a-1:0") for n in (1, 2)]
        assert seen == [("z", 1), ("a-1", 1), ("a-1", 2), ("a-10", 1)]


@pytest.mark.backend("memory")
def test_what_comes_while_parked_events_are_tried_again_keeps_its_turn() -> None:
    with open_store("memory://") as store:
        persister = filled(store, "a-1", events=2)
        options: dict[str, Any] = {"attempts": 1, "on_poison": "hold"}
        with Subscription(persister, "mails", **options) as subscription:
            subscription.run(failing_at(1), until_caught_up=True)
        seen: list[int] = []

        def handle(delivery: Delivery) -> None:
            if delivery.version < 4:
                persister.append("a-1", Event("x", state=0), expected=delivery.version + 1)
                with Subscription(persister, "mails", **options) as other:
                    assert other.run(lambda late: seen.append(late.version), until_caught_up=True) == 0
            seen.append(delivery.version)

        with Subscription(persister, "mails", **options) as subscription:
            assert subscription.replay_parked(handle) == (5, 0)
            assert subscription.parked() == []
        assert seen == [1, 2, 3, 4, 5]


STREAMS = ("a-1", "a-2", "b-1")
work = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sets(st.sampled_from(STREAMS), min_size=1)),
        st.tuples(st.sampled_from(["run", "replay"]), st.sets(st.sampled_from(STREAMS))),
    ),
    max_size=15,
)


@pytest.mark.backend("memory")
@settings(max_examples=15)
@example([*[("append", {"a-1"})] * 2, ("run", {"a-1"}), ("replay", {"a-1"})], False, True)
@given(work, st.booleans(), st.booleans())
def test_whatever_fails_each_stream_is_handled_in_order(
    steps: list[tuple[str, set[str]]], shared: bool, is_ordered: bool
) -> None:
    with open_store("memory://") as memory:
        store = memory if is_ordered else cast("Store", UnorderedStore(memory, Random(1)))
        persister = StateMachinePersister(store)
        written: Counter[str] = Counter()
        handled: Counter[str] = Counter()

        def go(what: str, failing: set[str]) -> None:
            def handle(delivery: Delivery) -> None:
                id = delivery.state_id
                assert delivery.version == handled[id] + 1, f"{id} after version {handled[id]}"
                if id in failing:
                    raise ZeroDivisionError
                handled[id] += 1

            with Subscription(persister, "mails", shared=shared, attempts=1, on_poison="hold") as subscription:
                if what == "run":
                    subscription.run(handle, until_caught_up=True)
                else:
                    subscription.replay_parked(handle)
                assert not any("AssertionError" in parked.problem for parked in subscription.parked())

        for what, ids in [*steps, ("run", set[str]()), ("replay", set[str]())]:
            if what != "append":
                go(what, ids)
                continue
            for id in sorted(ids):
                persister.append(id, Event("x", state=0), expected=written[id])
                written[id] += 1
        assert handled == written
