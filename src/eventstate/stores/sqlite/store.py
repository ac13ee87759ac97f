"""The store port on one SQLite file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from eventstate.core.documents import Batch, CommitResult, FeedPage, Fetched, Key, Page
from eventstate.errors import StoreClosedError, StoreReadOnlyError
from eventstate.runtime.base import Runtime
from eventstate.stores.base import Capabilities, Closing
from eventstate.stores.limits import check_batch
from eventstate.stores.sqlite import reading
from eventstate.stores.sqlite.connection import Durability, Settings
from eventstate.stores.sqlite.engine import Engine
from eventstate.stores.sqlite.sharing import release_engine, shared_engine
from eventstate.stores.watching import Watch


class SqliteStore(Closing):
    """Implements `eventstate.stores.base.Store`; safe to use from many threads and processes.

    Single documents are read on the calling thread, also under asyncio: that takes microseconds,
    a thread hop takes ten times as long. Scans and commits leave the event loop.
    """

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._engine: Engine = shared_engine(settings, lambda: "s" + runtime.unique()[-7:])
        self._capabilities = Capabilities(feed_order="store", durability=_SURVIVES[settings.durability], shared=True)
        self._closed = False

    @property
    def url(self) -> str:
        return self._settings.url

    @property
    def node(self) -> str:
        return self._engine.node

    @property
    def epoch(self) -> int:
        return self._engine.epoch

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def engine(self) -> Engine:
        """What backups and `eventstate doctor` work on."""
        self._check_open()
        return self._engine

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError(store=self.url)
        self._engine.check_usable()

    async def get(self, keys: Sequence[Key]) -> Fetched:
        self._check_open()
        engine = self._engine
        found = {}
        with engine.reader() as connection:
            known = engine.known
            for key in keys:
                document = reading.document(connection, key, known)
                if document is not None:
                    found[key] = document
        return Fetched(found, engine.clock.now())

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
        self._check_open()

        def read() -> Page:
            with self._engine.reader() as connection:
                documents, more = reading.scan(connection, kind, owner, id, prefix, after, limit)
            return Page(documents, documents[-1].key if more else None, self._engine.clock.now())

        return await self._runtime.run_blocking(read)

    async def owners(self, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        self._check_open()

        def read() -> Sequence[str]:
            with self._engine.reader() as connection:
                return reading.owners(connection, after, limit)

        return await self._runtime.run_blocking(read)

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        self._check_open()

        def read() -> FeedPage:
            engine = self._engine
            with engine.reader() as connection:
                return reading.feed(connection, after, limit, engine.names)

        return await self._runtime.run_blocking(read)

    async def commit(self, batch: Batch) -> CommitResult:
        self._check_open()
        if self._settings.read_only:
            raise StoreReadOnlyError(store=self.url, detail="it was opened with ?mode=ro")
        check_batch(batch, self._capabilities)
        return await self._engine.group.submit(batch, self._runtime)

    def watch(self, keys: Sequence[Key]) -> Watch:
        self._check_open()
        return self._engine.watching.add(keys, self._runtime)

    async def vacuum(self) -> None:
        """Write the file anew without what was deleted or replaced in it, and empty the log.

        Raises:
            StoreUnavailableError: others read or wrote all the time; call again.
            StorageFullError: there must be room for a second copy.
        """
        self._check_open()
        if self._settings.read_only:
            raise StoreReadOnlyError(store=self.url, detail="it was opened with ?mode=ro")
        from eventstate.stores.sqlite.vacuum import vacuum  # seldom asked for

        await self._runtime.run_blocking(lambda: vacuum(self._engine))

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            engine = self._engine
            if not engine.is_inherited:
                await engine.group.drain(self._runtime)
            await self._runtime.run_blocking(lambda: release_engine(engine))
            self._runtime.close()


_SURVIVES: Final[dict[Durability, Literal["power-loss", "process-crash", "none"]]] = {
    "full": "power-loss",
    "normal": "process-crash",
    "off": "none",
}
