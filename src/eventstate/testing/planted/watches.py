"""Bugs in watches: each is a moment in which a change goes unnoticed."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from eventstate.core.documents import Batch, CommitResult
from eventstate.runtime.signal import Signal
from eventstate.stores.memory import MemoryStore
from eventstate.stores.sqlite.watching import Watching
from eventstate.stores.watching import Watch, Watches, changed_keys
from eventstate.testing.conformance.watching import WatchingCases
from eventstate.testing.planted.plant import Patch, Plant

_commit = MemoryStore.commit
_run = Watching._run


class ImpatientCases(WatchingCases):
    """With these bugs each missed wake-up is waited for in vain."""

    patience: ClassVar[float] = 1.0


def _wakes_only_who_waits() -> list[Patch]:
    def set_flag(self: Signal) -> None:
        with self._mutex:
            waiter = self._waiter
            self._is_set = waiter is not None
        if waiter is not None:
            self._runtime.wake((waiter,))

    return [(Signal, "set", set_flag)]


def _cancelled_wait_takes_it() -> list[Patch]:
    async def wait(self: Signal, timeout: float) -> bool:
        with self._mutex:
            if self._is_set:
                self._is_set = False
                return True
            waiter = self._waiter = self._runtime.waiter()
        try:
            await waiter.wait(timeout)
        finally:
            with self._mutex:
                was_set, self._is_set, self._waiter = self._is_set, False, None
        return was_set

    return [(Signal, "wait", wait)]


def _wakes_before_the_commit() -> list[Patch]:
    async def commit(self: MemoryStore, batch: Batch) -> CommitResult:
        watches = self._watches
        watches.wake(changed_keys(batch))
        time.sleep(0.002)  # noqa: ASYNC251 - time for the woken to look
        self._watches = Watches()
        try:
            return await _commit(self, batch)
        finally:
            self._watches = watches

    return [(MemoryStore, "commit", commit)]


def _first_close_ends_all() -> list[Patch]:
    def remove(self: Watches, watch: Watch) -> None:
        with self._mutex:
            for key in watch.keys:
                self._open.pop(key, None)

    return [(Watches, "remove", remove)]


def _own_commits_only() -> list[Patch]:
    def look(_self: Watching) -> None:
        return None

    return [(Watching, "_look", look)]


def _looks_first_when_running() -> list[Patch]:
    def run(self: Watching, _seen: Any) -> None:
        self._closed.wait(0.08)
        with self._looking:
            seen = self._look()
        _run(self, seen)

    return [(Watching, "_run", run)]


WATCH_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="wakes-only-who-waits",
        story="where nobody waits there is nobody to wake",
        patches=_wakes_only_who_waits,
        suite=ImpatientCases,
        cases=["test_a_change_is_kept_for_who_waits_later"],
    ),
    Plant(
        name="cancelled-wait-takes-the-wake-up",
        story="a wait takes its flag down, however it ends",
        patches=_cancelled_wait_takes_it,
        suite=ImpatientCases,
        cases=["test_an_ended_wait_keeps_what_it_did_not_see"],
        world="asyncio",
    ),
    Plant(
        name="wakes-before-the-commit",
        story="those who wait are told first, since they need a while to wake up",
        patches=_wakes_before_the_commit,
        suite=ImpatientCases,
        cases=["test_two_who_take_turns_never_miss_each_other", "test_the_last_of_many_changes_is_noticed"],
    ),
    Plant(
        name="first-close-ends-all",
        story="a document is watched or it is not",
        patches=_first_close_ends_all,
        suite=ImpatientCases,
        cases=["test_everybody_who_watches_is_woken"],
    ),
    Plant(
        name="own-commits-only",
        story="whoever commits wakes those who watch",
        patches=_own_commits_only,
        suite=ImpatientCases,
        cases=["test_every_change_of_a_document_wakes"],
        backend="sqlite",
    ),
    Plant(
        name="looks-first-when-running",
        story="the thread reads the counter to compare with when it begins",
        patches=_looks_first_when_running,
        suite=ImpatientCases,
        cases=["test_a_change_is_kept_for_who_waits_later"],
        backend="sqlite",
    ),
)
