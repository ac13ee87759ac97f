"""The port's promises about watches: no change goes unnoticed, whoever makes it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import ClassVar

from eventstate.core.documents import CURSOR, ENTRY, HEAD
from eventstate.errors import StoreClosedError
from eventstate.stores.base import Store
from eventstate.stores.watching import Watch
from eventstate.testing.conformance.suite import Key, Suite, case, exists, put, raises, read, remove

OWN, OTHER = Key(CURSOR, "g", "own"), Key(CURSOR, "g", "other")
PING, PONG = Key(CURSOR, "g", "ping"), Key(CURSOR, "g", "pong")
TURNS = 50
QUIET_SECONDS = 0.1
_PEACE_ATTEMPTS = 50


async def peace(watch: Watch) -> None:
    """Wait until the wake-ups for what was before are over."""
    for _ in range(_PEACE_ATTEMPTS):
        if not await watch.wait(QUIET_SECONDS):
            return
    raise AssertionError("woken again and again, though nothing changes")


class WatchingCases(Suite):
    """Watches: woken by every change of their documents, also by one without; never past one."""

    patience: ClassVar[float] = 10.0
    """Seconds after which a wake-up counts as missed."""

    async def _until(self, store: Store, watch: Watch, key: Key, text: str) -> None:
        """Return once a read shows this text; looks at first and whenever woken, never just so."""
        while (found := await read(store, key)) is None or f'"text":"{text}"'.encode() not in found.body:
            assert await watch.wait(self.patience), f"no wake-up for {key}: {text!r} is there or on its way"

    @case
    async def test_every_change_of_a_document_wakes(self) -> None:
        """Its creation, another version, its deletion and its return, by this store and by another."""
        store, apart = self.open(), self.open(apart=True)
        for key, changes in (
            (OWN, (put, put, remove)),
            (Key(HEAD, "g", "a/b%!"), (put, put, remove)),
            (Key(ENTRY, "g", "a", 7), (put, remove)),
        ):
            with store.watch([key]) as watch:
                for writer in (store, apart):
                    for change in changes:
                        await peace(watch)
                        await change(writer, key)
                        assert await watch.wait(self.patience), f"not woken by {change.__name__} of {key}"

    @case
    async def test_who_waits_already_is_woken(self) -> None:
        store, apart = self.open(), self.open(apart=True)
        for writer in (store, apart):
            with store.watch([OWN]) as watch:
                await peace(watch)

                async def change(writer: Store = writer) -> bool:
                    await self.runtime.sleep(0.05)
                    await put(writer, OWN)
                    return True

                began = self.runtime.monotonic()
                assert await self.together([partial(watch.wait, self.patience), change]) == [True, True]
                assert self.runtime.monotonic() - began < self.patience

    @case
    async def test_a_change_is_kept_for_who_waits_later(self) -> None:
        """Opening the watch is what counts, not the wait."""
        store, apart = self.open(), self.open(apart=True)
        for writer in (apart, store):
            for calm in (False, True):
                with store.watch([OWN]) as watch:
                    if calm:
                        await peace(watch)
                    await put(writer, OWN)
                    await self.runtime.sleep(QUIET_SECONDS)
                    assert await watch.wait(self.patience), "a change while nobody waited was forgotten"

    @case
    async def test_other_changes_take_nothing_away(self) -> None:
        store, apart = self.open(), self.open(apart=True)
        with store.watch([OWN]) as watch:

            async def change() -> None:
                for number in range(self.rounds):
                    await put(apart, OTHER, text=str(number))
                    await put(apart, OWN, text=str(number))
                    await put(apart, OTHER, Key(CURSOR, "h", "own"), text=str(number))

            await self.together([change, partial(self._until, store, watch, OWN, str(self.rounds - 1))])

    @case
    async def test_one_of_several_documents_is_enough(self) -> None:
        store, apart = self.open(), self.open(apart=True)
        keys = [Key(CURSOR, "g", f"k{number}") for number in range(8)]
        with store.watch(keys) as watch:
            for key in keys:
                await peace(watch)
                await put(apart, key)
                assert await watch.wait(self.patience), f"not woken by {key}"

    @case
    async def test_two_who_take_turns_never_miss_each_other(self) -> None:
        """Each looks only when woken: one missed wake-up, or one that comes before a read shows why, and both stand."""
        store, apart = self.open(), self.open(apart=True)

        async def serve() -> None:
            with store.watch([PONG]) as watch:
                for number in range(TURNS):
                    await put(store, PING, text=str(number))
                    await self._until(store, watch, PONG, str(number))

        async def answer() -> None:
            with apart.watch([PING]) as watch:
                for number in range(TURNS):
                    await self._until(apart, watch, PING, str(number))
                    await put(apart, PONG, text=str(number))

        await self.together([serve, answer])

    @case
    async def test_the_last_of_many_changes_is_noticed(self) -> None:
        """Several may come as one wake-up, and there is one after the last."""
        store, apart = self.open(), self.open(apart=True)

        async def change(writer: Store, key: Key) -> None:
            for number in range(TURNS):
                await put(writer, key, text=str(number))

        with store.watch([OWN, OTHER]) as watch, store.watch([OTHER]) as second:
            await self.together(
                [
                    partial(change, store, OWN),
                    partial(change, apart, OTHER),
                    partial(self._until, store, watch, OWN, str(TURNS - 1)),
                    partial(self._until, apart, second, OTHER, str(TURNS - 1)),
                ]
            )

    @case
    async def test_everybody_who_watches_is_woken(self) -> None:
        store, apart = self.open(), self.open(apart=True)
        with store.watch([OWN]) as first, store.watch([OWN, OTHER]) as second, apart.watch([OWN]) as third:
            for _ in range(3):
                for watch in (first, second, third):
                    await peace(watch)
                await put(store, OWN)
                for watch in (first, second, third):
                    assert await watch.wait(self.patience), "one of three was left asleep"
            first.close()
            for watch in (second, third):
                await peace(watch)
            await put(apart, OWN)
            for watch in (second, third):
                assert await watch.wait(self.patience), "the end of one watch ended another's wake-ups"

    @case
    async def test_a_document_is_watched_again(self) -> None:
        """What was closed a moment ago may be opened again, and is as good as new."""
        store, apart = self.open(), self.open(apart=True)
        for number in range(self.rounds):
            with store.watch([OWN]) as watch:
                await put(apart, OWN, text=str(number))
                await self._until(store, watch, OWN, str(number))
                assert await watch.wait(self.patience)

    @case
    async def test_a_closed_watch_gets_nothing(self) -> None:
        store = self.open()
        with store.watch([OWN]) as open_one:
            watch = store.watch([OWN])
            watch.close()
            watch.close()
            await peace(watch)
            await peace(open_one)
            await put(store, OWN)
            assert await open_one.wait(self.patience)
            assert not await watch.wait(QUIET_SECONDS), "woken after its end"
        assert not await watch.wait(0)

    @case
    async def test_a_wait_in_which_nothing_happens_ends_in_time(self) -> None:
        store = self.open()
        await put(store, OWN)
        with store.watch([OWN, OTHER]) as watch:
            for _ in range(_PEACE_ATTEMPTS):
                began = self.runtime.monotonic()
                if not await watch.wait(0.1):
                    break
            else:
                raise AssertionError("woken again and again, though nothing changes")
            assert 0.09 < self.runtime.monotonic() - began < self.patience

    @case
    async def test_an_ended_wait_keeps_what_it_did_not_see(self) -> None:
        """Cancelled in the very moment of a wake-up, it leaves that to the next wait."""
        if self.world.name == "sync":
            return
        store = self.open()
        with store.watch([OWN]) as watch:
            await peace(watch)
            for _ in range(5):
                waiting = asyncio.ensure_future(watch.wait(self.patience))
                await asyncio.sleep(0)
                await put(store, OWN)
                waiting.cancel()
                await asyncio.wait([waiting])
                if waiting.cancelled():
                    assert await watch.wait(self.patience), "a cancelled wait took the wake-up with it"

    @case
    async def test_closing_the_store_ends_waits(self) -> None:
        store = self.open()
        watch = store.watch([OWN])
        await peace(watch)

        async def close() -> bool:
            await self.runtime.sleep(0.05)
            await store.aclose()
            return True

        began = self.runtime.monotonic()
        await self.together([partial(watch.wait, 1.0), close])
        assert self.runtime.monotonic() - began < 1.0 + self.patience
        watch.close()
        watch.close()
        with raises(StoreClosedError):
            store.watch([OWN])

    @case
    async def test_a_watch_alone_changes_nothing(self) -> None:
        store = self.open()
        with store.watch([OWN, OTHER]):
            assert not await exists(store, OWN)
        assert (await store.scan(CURSOR, "g")).documents == []
