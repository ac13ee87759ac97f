"""A store without an order over streams, made of one that has it: what Firestore is like, only worse."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from eventstate.core.documents import Batch, CommitResult, FeedPage, Fetched, Key, Page
from eventstate.errors import StoreUnavailableError
from eventstate.runtime.base import Runtime
from eventstate.stores.base import Capabilities, Closing, Store
from eventstate.stores.watching import Watch


class UnorderedStore(Closing):
    """Its feed leaves entries out, shows some late and some out of order; its watches miss changes; its reads fail.

    What it reads by key and by scan is the truth. Everything else goes to the store below.

    Args:
        store: one with an order.
        random: for all that goes wrong.
        lost: share of entries that the feed never shows.
        missed: share of wake-ups that get lost.
        failing: share of reads that raise StoreUnavailableError.
    """

    def __init__(
        self, store: Store, random: Random, *, lost: float = 0.2, missed: float = 0.5, failing: float = 0.0
    ) -> None:
        self._store = store
        self._random = random
        self._lost = lost
        self._missed = missed
        self.failing = failing
        self._shown: dict[Key, bool] = {}
        self.reads = 0

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
        return self._store.runtime

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities._replace(feed_order="stream")

    def _read(self) -> None:
        self.reads += 1
        if self._random.random() < self.failing:
            raise StoreUnavailableError(store=self.url, detail="a read that was made to fail")

    async def get(self, keys: Sequence[Key]) -> Fetched:
        self._read()
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
        self._read()
        return await self._store.scan(kind, owner, id=id, prefix=prefix, after=after, limit=limit)

    async def owners(self, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        self._read()
        return await self._store.owners(after=after, limit=limit)

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        self._read()
        page = await self._store.feed(after, limit=limit)
        shown = [item for item in page.entries if self._is_shown(item[1].key)]
        if self._random.random() < 0.3:
            self._random.shuffle(shown)
        return FeedPage(shown, page.position)

    def _is_shown(self, key: Key) -> bool:
        return self._shown.setdefault(key, self._random.random() >= self._lost)

    async def commit(self, batch: Batch) -> CommitResult:
        return await self._store.commit(batch)

    def watch(self, keys: Sequence[Key]) -> Watch:
        heard = [key for key in keys if self._random.random() >= self._missed]
        return self._store.watch(heard)

    async def aclose(self) -> None:
        await self._store.aclose()
