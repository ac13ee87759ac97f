"""The store: the port on Firestore's documents."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from eventstate.core.documents import (
    Batch,
    CommitResult,
    Committed,
    FeedPage,
    Fetched,
    Key,
    Operation,
    Page,
    Put,
    Refused,
    Require,
    Unknown,
)
from eventstate.errors import DocumentTooLargeError, InvalidInputError, StoreUnavailableError
from eventstate.runtime.base import Runtime
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Capabilities, Closing
from eventstate.stores.firestore import messages, queries
from eventstate.stores.firestore.errors import REFUSED, RpcError, final_error
from eventstate.stores.firestore.lifecycle import Lifecycle
from eventstate.stores.firestore.listening import ListenStream
from eventstate.stores.firestore.owners import OwnerPages
from eventstate.stores.firestore.pages import Documents, FeedBuilder, PageBuilder
from eventstate.stores.firestore.paths import Paths, key_range
from eventstate.stores.firestore.reading import read
from eventstate.stores.firestore.rpc import Message, Target, open_rpc
from eventstate.stores.firestore.sending import Answer, Outgoing, Sender
from eventstate.stores.firestore.url import FirestoreSettings
from eventstate.stores.firestore.watching import Watching
from eventstate.stores.limits import check_batch
from eventstate.stores.watching import Watch

T = TypeVar("T")

CAPABILITIES: Final = Capabilities(feed_order="stream", durability="power-loss", shared=True)
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""The emulator's limit; the service takes 10 MiB."""
MAX_GET_KEYS: Final = 300
_CLOSE_MARGIN: Final = 1.0


class FirestoreStore(Closing):
    """Implements `eventstate.stores.base.Store`; safe to use from many threads, or from many tasks of one loop.

    A commit is one request with a deadline, sent once and never repeated here. Reads are repeated until the
    timeout. The feed is a hint: an entry whose commit took longer than that of a later one may be missed by a
    reader who was that close behind.
    """

    def __init__(
        self, settings: FirestoreSettings, runtime: Runtime, *, emulator: str | None, credentials: object
    ) -> None:
        self._runtime = runtime
        self._timeout = settings.timeout
        self._url = settings.url
        self._paths = Paths(project=settings.project, database=settings.database, root=settings.root)
        self._node = _node(self._paths.documents)
        self._epoch = settings.epoch
        target = Target(self._paths.database, emulator, credentials, self._url)
        self._rpc = open_rpc(target, runtime)
        self._sender = Sender(
            self._rpc,
            runtime,
            messages.commit_database(self._paths),
            self._timeout,
            shares=not isinstance(runtime, BlockingRuntime),
        )
        self._watching = Watching(
            lambda: ListenStream(target, self._rpc.counts),
            self._paths.name,
            runtime,
            store=self._url,
            probe=f"{self._paths.documents}/eventstate/probe" if emulator else "",
        )
        self._calls = Lifecycle(runtime, self._url)
        self._owner_pages = OwnerPages(self._paths)
        self._is_confirmed = False

    @property
    def url(self) -> str:
        return self._url

    @property
    def node(self) -> str:
        return self._node

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def rpc_count(self) -> Counter[str]:
        """Requests sent so far, by method: what the bill and most of the waiting are made of."""
        return self._rpc.counts

    async def get(self, keys: Sequence[Key]) -> Fetched:
        with self._calls:
            wanted = {self._paths.name(key): key for key in keys}
            names = list(wanted)
            parts = [await self._get(wanted, names[i : i + MAX_GET_KEYS]) for i in range(0, len(names), MAX_GET_KEYS)]
            if len(parts) == 1:
                return parts[0]
            documents = {key: document for part in parts for key, document in part.documents.items()}
            return Fetched(documents, min((part.read_at for part in parts), default=self._runtime.now()))

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
        with self._calls:
            _check_limit(limit)
            if after is not None and (after.kind, after.owner) != (kind, owner):
                raise InvalidInputError(f"a scan of kind {kind!r} in {owner!r} can't go on after {after}")
            segments = key_range(kind, id=id, prefix=prefix, after=after)
            if segments is None:
                return Page((), None, self._runtime.now())
            request = queries.scan_query(self._paths, kind, owner, segments, limit + 1)

            async def attempt(timeout: float) -> Page:
                builder = PageBuilder(kind, owner, limit)
                await self._rpc.stream("RunQuery", request, timeout, builder.take)
                return builder.page(self._runtime.now)

            return await self._read(attempt)

    async def owners(self, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        with self._calls:
            _check_limit(limit)

            async def list_page(request: bytes) -> Message:
                return await self._read(lambda timeout: self._rpc.unary("ListDocuments", request, timeout))

            return await self._owner_pages.after(after, limit, list_page)

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        with self._calls:
            _check_limit(limit)
            builder = await self._feed(after, None, limit)
            crowded = builder.crowded_time()
            if crowded is not None:
                builder = await self._feed(after, crowded, None)
            return builder.page(after)

    async def commit(self, batch: Batch) -> CommitResult:
        with self._calls:
            check_batch(batch, CAPABILITIES)
            impossible = messages.never_holds(batch)
            if impossible:
                return Refused(impossible)
            sent = [operation for operation in batch.operations if messages.sends_write(operation)]
            writes = messages.commit_writes(self._paths, sent)
            size = self._sender.size(writes)
            if size > MAX_REQUEST_BYTES:
                what = "the batch with the names of its documents"
                raise DocumentTooLargeError(what=what, size=size, limit=MAX_REQUEST_BYTES)
            outcome = await self._sender.send(Outgoing(batch, writes, len(sent)))
            if isinstance(outcome, RpcError):
                return await self._failed(batch, outcome)
            self._is_confirmed = True
            return self._committed(sent, outcome)

    def watch(self, keys: Sequence[Key]) -> Watch:
        with self._calls:
            return self._watching.add(keys)

    async def aclose(self) -> None:
        if self._calls.is_inherited:
            return
        self._watching.close()
        if await self._calls.end(self._timeout + _CLOSE_MARGIN):
            await self._watching.ended(_CLOSE_MARGIN)
            await self._rpc.close()

    async def _get(self, keys: dict[str, Key], names: Sequence[str]) -> Fetched:
        request = messages.get_request(self._paths, names)

        async def attempt(timeout: float) -> Fetched:
            documents = Documents(keys)
            await self._rpc.stream("BatchGetDocuments", request, timeout, documents.take)
            return documents.fetched(self._runtime.now)

        return await self._read(attempt)

    async def _feed(self, after: int, upto: int | None, limit: int | None) -> FeedBuilder:
        shards = messages.shards(self._paths.root)
        request = queries.feed_query(self._paths, shards, after, upto, None if limit is None else limit + 1)

        async def attempt(timeout: float) -> FeedBuilder:
            builder = FeedBuilder(self._paths, limit)
            await self._rpc.stream("RunQuery", request, timeout, builder.take)
            return builder

        return await self._read(attempt)

    async def _read(self, attempt: Callable[[float], Awaitable[T]]) -> T:
        result = await read(self._runtime, store=self._url, timeout=self._timeout, attempt=attempt)
        self._is_confirmed = True
        return result

    def _committed(self, sent: Sequence[Operation], answer: Answer) -> Committed:
        revisions = {
            operation.key: messages.revision(result.update_time)
            for operation, result in zip(sent, answer.results, strict=True)
            if isinstance(operation, Put)
        }
        response = answer.response
        has_time = response.HasField("commit_time")  # a batch that only checks for nothing is answered without
        return Committed(revisions, messages.microseconds(response.commit_time) if has_time else self._runtime.now())

    async def _failed(self, batch: Batch, error: RpcError) -> CommitResult:
        if error.unsent:
            raise StoreUnavailableError(store=self._url, detail=f"{error.details}; nothing was sent")
        if error.code in REFUSED:
            await self._confirm_database(batch)
            return Refused(_refused_key(batch))
        refusal = final_error(error, store=self._url)
        if refusal is not None:
            raise refusal
        return Unknown(str(error))

    async def _confirm_database(self, batch: Batch) -> None:
        """Tell a document that is not found from a database that is not: both answer a commit alike, not a read."""
        if not self._is_confirmed:
            key = batch.operations[0].key
            name = self._paths.name(key)
            await self._get({name: key}, [name])


def _refused_key(batch: Batch) -> frozenset[Key] | None:
    """The key that must have been refused, where there is only one."""
    conditional = [operation.key for operation in batch.operations if operation.when is not Require.ANY]
    return frozenset(conditional) if len(conditional) == 1 else None


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise InvalidInputError(f"limit={limit} must be 1 or more")


def _node(documents: str) -> str:
    digest = hashlib.sha256(f"firestore:{documents}".encode()).digest()
    return f"f{b32encode(digest)[:9].decode().lower()}"
