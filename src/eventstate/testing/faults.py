"""Lost answers, lost requests and late copies, on top of any store."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Final

from eventstate.core.documents import Batch, CommitResult, FeedPage, Fetched, Key, Page, Unknown
from eventstate.errors import StoreUnavailableError
from eventstate.runtime.base import Runtime
from eventstate.stores.base import Capabilities, Closing, Store
from eventstate.stores.watching import Watch


class Fault(enum.Enum):
    """What happens to one commit on its way."""

    NONE = "sent and answered"
    LOST_ANSWER = "applied, but the answer is lost"
    LOST_REQUEST = "not applied, and no answer"
    DELAYED = "no answer; a copy is held and may be delivered later"
    UNAVAILABLE = "certainly not sent"
    CANCELLED_BEFORE = "the caller is cancelled, nothing is applied"
    CANCELLED_AFTER = "the caller is cancelled, though it is applied"
    CANCELLED_DELAYED = "the caller is cancelled; a copy is held and may be delivered later"


UNANSWERED: Final = (Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.DELAYED, Fault.UNAVAILABLE)
"""The faults that leave the caller alive."""

_LOST: Final = "the answer was lost"

BeforeCommit = Callable[[Batch], Awaitable[None]]
BeforeGet = Callable[[Sequence[Key]], Awaitable[None]]


class FaultyStore(Closing):
    """A store whose commits meet the faults of a script, one each; after its end all goes well.

    Reads go through. Sent batches are noted, resends of a batch among them.

    Attributes:
        sent: every batch as it was handed in, in order.
        held: copies in flight that `deliver` brings to the store.
        before_commit, before_get: awaited before each commit and get, with the batch or the keys: the place to
            let something else happen just then. Not called again while they run.

    Args:
        store: where commits go; several faulty stores may share one.
        script: a fault for each commit to come, or a function that names it for a batch.
        runtime: what callers see as the store's runtime; by default the store's own.
    """

    def __init__(
        self,
        store: Store,
        script: Iterable[Fault] | Callable[[Batch], Fault] = (),
        *,
        runtime: Runtime | None = None,
    ) -> None:
        self._store = store
        self._runtime = runtime or store.runtime
        self._script = script if callable(script) else _one_after_another(script)
        self._is_inside = False
        self.sent: list[Batch] = []
        self.held: list[Batch] = []
        self.before_commit: BeforeCommit | None = None
        self.before_get: BeforeGet | None = None

    def then(self, *faults: Fault) -> None:
        """Replace the script."""
        self._script = _one_after_another(faults)

    async def deliver(self, index: int = 0) -> CommitResult:
        """Bring a held copy to the store, at last; its answer, which nobody waits for any more."""
        return await self._store.commit(self.held.pop(index))

    # The port

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def node(self) -> str:
        return self._store.node

    @property
    def epoch(self) -> int:
        return self._store.epoch

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities

    async def get(self, keys: Sequence[Key]) -> Fetched:
        if self.before_get is not None and not self._is_inside:
            await self._aside(self.before_get(keys))
        return await self._store.get(keys)

    async def scan(
        self,
        kind: str,
        owner: str,
        *,
        id: str | None = None,
        prefix: str = "",
        after: Key | None = None,
        limit: int = 1000,
    ) -> Page:
        return await self._store.scan(kind, owner, id=id, prefix=prefix, after=after, limit=limit)

    async def owners(self, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        return await self._store.owners(after=after, limit=limit)

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        return await self._store.feed(after, limit=limit)

    async def commit(self, batch: Batch) -> CommitResult:
        self.sent.append(batch)
        if self.before_commit is not None and not self._is_inside:
            await self._aside(self.before_commit(batch))
        fault = self._script(batch)
        if fault is Fault.NONE:
            return await self._store.commit(batch)
        if fault is Fault.UNAVAILABLE:
            raise StoreUnavailableError(store=self.url, detail="no connection; nothing was sent")
        if fault in (Fault.LOST_ANSWER, Fault.CANCELLED_AFTER):
            await self._store.commit(batch)
        if fault in (Fault.DELAYED, Fault.CANCELLED_DELAYED):
            self.held.append(batch)
        if fault in (Fault.CANCELLED_BEFORE, Fault.CANCELLED_AFTER, Fault.CANCELLED_DELAYED):
            raise asyncio.CancelledError
        return Unknown(_LOST)

    def watch(self, keys: Sequence[Key]) -> Watch:
        return self._store.watch(keys)

    async def aclose(self) -> None:
        """Nothing: whoever opened the store closes it."""

    async def _aside(self, happening: Awaitable[None]) -> None:
        self._is_inside = True
        try:
            await happening
        finally:
            self._is_inside = False


def _one_after_another(faults: Iterable[Fault]) -> Callable[[Batch], Fault]:
    left: Iterator[Fault] = iter(faults)
    return lambda _batch: next(left, Fault.NONE)


def on_call(number: int, happening: Callable[[], Awaitable[None]]) -> Callable[[object], Awaitable[None]]:
    """For ``before_commit`` and ``before_get``: something happens before the call of that number (1 is the first)."""
    calls = 0

    async def hook(_argument: object) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            await happening()

    return hook


def flaky(
    random: Random, rate: float, faults: Sequence[Fault] = UNANSWERED, *, cut_off: float = 0.0
) -> Callable[[Batch], Fault]:
    """A script by chance: each commit meets one of the faults at a ``rate``.

    A share of batches is ``cut_off``: one copy is held, and no other gets through, however often it is sent.
    """
    is_cut_off: dict[str, bool] = {}

    def script(batch: Batch) -> Fault:
        if cut_off and batch.token not in is_cut_off:
            is_cut_off[batch.token] = random.random() < cut_off
            if is_cut_off[batch.token]:
                return Fault.DELAYED
        if is_cut_off.get(batch.token):
            return Fault.LOST_REQUEST
        return random.choice(faults) if rate and random.random() < rate else Fault.NONE

    return script
