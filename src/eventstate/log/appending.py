"""Appending to streams: from a tip this process knows, one round trip, and again if it was passed."""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from eventstate.core.backoff import full_jitter
from eventstate.core.documents import Committed, Document, Operation, Refused
from eventstate.core.expected import ANY
from eventstate.core.format import NO_STATE, Image, Tip
from eventstate.core.leases import Fence
from eventstate.core.planner import HEAD_STATE_BYTES, Plan, last_metadata, plan_appends
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import TransactionConflictError
from eventstate.log.commands import Commands
from eventstate.log.planning import Change, Current, Planned, StreamPlanner
from eventstate.log.reading import Known, StreamReader
from eventstate.stores.base import Store
from eventstate.stores.limits import holds
from eventstate.transactions.commit import Committer
from eventstate.transactions.fencing import check_fences

ATTEMPTS = 20
"""How often an append starts again from a newer tip where its caller allows it; bounded, with full jitter."""

MAX_KNOWN = 10_000
MAX_KNOWN_BYTES = 64 * 1024 * 1024
"""Bounds of what an appender remembers; the oldest goes first."""


class Appended(NamedTuple):
    """One stream after an append; ``state`` is as it will be read back, None after a deletion.

    `NO_STATE` stands for one to be decoded from the image in ``known``.
    """

    known: Known
    tip: Tip
    state: Any
    action: str
    metadata: Mapping[str, Any]


class Receipt(NamedTuple):
    """The outcome of a call: streams in the order of its changes, or the versions an earlier run of it reached."""

    streams: Sequence[Appended]
    earlier: Mapping[str, int] | None
    position: int | None


Extra = Callable[[str], Sequence[Operation]]
"""Makes further operations of the same commit; bodies must hold the token they are given as member ``t``."""


def _nothing(_token: str) -> Sequence[Operation]:
    return ()


class Appender:
    """Appends to the streams of one governor, remembering the tips it has seen."""

    def __init__(self, store: Store, owner: str, reader: StreamReader, policy: SnapshotPolicy) -> None:
        self._store = store
        self._runtime = store.runtime
        self._owner = owner
        self._committer = Committer(store, owner)
        self._planner = StreamPlanner(store, owner, reader, policy, self._committer)
        self._commands = Commands(store, owner)
        self._known: dict[str, Known] = {}
        self._sizes: dict[str, int] = {}
        self._known_bytes = 0
        self._mutex = threading.Lock()

    @property
    def committer(self) -> Committer:
        return self._committer

    @property
    def planner(self) -> StreamPlanner:
        return self._planner

    @property
    def commands(self) -> Commands:
        return self._commands

    def remember(self, id: str, known: Known) -> None:
        """Keep what is known of a stream for the next append."""
        size = _size(known)
        with self._mutex:
            self._forget(id)
            self._known[id] = known
            self._sizes[id] = size
            self._known_bytes += size
            while len(self._known) > MAX_KNOWN or self._known_bytes > MAX_KNOWN_BYTES:
                self._forget(next(iter(self._known)))

    def forget(self, id: str) -> None:
        """Read the stream anew before the next append."""
        with self._mutex:
            self._forget(id)

    def _forget(self, id: str) -> None:
        if self._known.pop(id, None) is not None:
            self._known_bytes -= self._sizes.pop(id)

    async def append(
        self,
        changes: Sequence[Change],
        *,
        idempotency_key: str | None = None,
        fingerprint: bytes = b"",
        fences: Sequence[Fence] = (),
        extra: Extra = _nothing,
    ) -> Receipt:
        """Append to all streams in one commit, or to none; and to none once one of the ``fences`` is gone.

        Raises:
            VersionConflictError: a stream is not at its expected version.
            StateDeletedError: a stream is deleted and not to be reopened.
            LeaseLostError: a lock whose fence was given is not held any more.
            TransactionConflictError: an ``extra`` operation was refused, or others were faster every time.
            IdempotencyMismatchError: the key was used for something else.
            CommitUnknownError, TokenExpiredError: see their texts.
        """
        fresh = False
        attempt = 0
        while True:
            attempt += 1
            unforgotten = await self._commands.check_fresh(idempotency_key)
            try:
                planned: list[Planned] = []
                for change in changes:
                    one = await self._plan(change, fresh)
                    if one is not None:
                        planned.append(one)
            except Exception:
                if not fresh:  # judged by remembered states, which others may have changed since
                    fresh = True
                    continue
                # It speaks of this attempt; whether the command ran before, only its own record tells.
                earlier = await self._earlier(idempotency_key, fingerprint)
                if earlier is not None:
                    return Receipt((), earlier, None)
                raise
            if not planned and not fresh:
                fresh = True
                continue
            if not planned:
                earlier = await self._earlier(idempotency_key, fingerprint)
                if earlier is not None:
                    return Receipt((), earlier, None)
                return Receipt([await self._unchanged(change) for change in changes], None, None)
            token = self._runtime.unique()
            others = extra(token)
            command = [*unforgotten, *self._command(idempotency_key, fingerprint, planned, token)]
            plan = plan_appends(
                [p.append for p in planned],
                token=token,
                now=self._runtime.now(),
                node=self._store.node,
                extra=[*(fence.check for fence in fences), *others, *command] if fences or others or command else (),
            )
            result = await self._committer.commit(plan.batch)
            if isinstance(result, Committed):
                return self._receipt(planned, plan, result)
            earlier = await self._earlier(idempotency_key, fingerprint)
            if earlier is not None:
                return Receipt((), earlier, None)
            await check_fences(self._store, result, fences)
            await self._judge_refusal(result, others, [p.append.tip for p in planned], attempt)
            fresh = True

    async def _judge_refusal(
        self, result: Refused, extra: Sequence[Operation], tips: Sequence[Tip], attempt: int
    ) -> None:
        """Decide whether to plan again; the heads are read anew then, which tells a true version conflict."""
        for tip in tips:
            self.forget(tip.id)
        guarded = {operation.key for operation in extra}
        if result.keys is not None and result.keys & guarded:
            raise TransactionConflictError(keys=tuple(str(key) for key in sorted(result.keys & guarded)))
        if attempt >= ATTEMPTS:
            detail = f"others were faster {attempt} times"
            raise TransactionConflictError(keys=tuple(str(tip.key) for tip in tips), detail=detail)
        if extra and result.keys is None:
            await self._check_extra(extra)
        if attempt > 1:
            await self._runtime.sleep(full_jitter(attempt - 1, self._runtime.random()))

    async def _check_extra(self, extra: Sequence[Operation]) -> None:
        """Where the store can't tell which precondition failed, look whether it was one of the caller's."""
        found = (await self._store.get([operation.key for operation in extra])).documents
        for operation in extra:
            document = found.get(operation.key)
            if not holds(operation.when, document.revision if document else None):
                raise TransactionConflictError(keys=(str(operation.key),))

    async def _plan(self, change: Change, fresh: bool) -> Planned | None:
        known = None if fresh else change.seen or self._known.get(change.id)
        expected = change.expected
        if known is not None and change.seen is None and expected is not ANY and expected != _version_of(known):
            # What we remember may be old: an unexpected version is a reason to look again, not yet a conflict.
            known = None
        current = self._planner.remembered(change, known) if known is not None else None
        return self._planner.plan(change, current or await self._current(change, known))

    async def _current(self, change: Change, known: Known | None) -> Current:
        if known is None:
            known = await self._planner.current(change.id)
        current = await self._planner.opened(change.id, change.fold, known)
        if current.rebuilt and current.known is not None:
            self.remember(change.id, Known(current.known.document, change.fold.dump(current.state)))
        return current

    def _receipt(self, planned: Sequence[Planned], plan: Plan, result: Committed) -> Receipt:
        streams: list[Appended] = []
        for (_, append, planned_state), planned_tip, head in zip(planned, plan.tips, plan.heads, strict=True):
            key = planned_tip.key
            revision = result.revisions.get(key)
            image = append.image
            state = planned_state if image is not None else None
            metadata = last_metadata(append)
            document = Document(key, head, revision or "", result.at)
            tip = planned_tip.at_revision(revision)
            if revision is None:  # settled by its entry while the head had already moved on
                known = Known(document, _kept_apart(image))
                self.forget(tip.id)
                if state is NO_STATE and image is not None and image.state is not None:
                    state = orjson.loads(image.state)
            else:
                known = Known(document, _kept_apart(image), tip, image, metadata)
                self.remember(tip.id, known)
            streams.append(Appended(known, tip, state, append.events[-1].type, metadata))
        return Receipt(streams, None, result.position)

    async def _unchanged(self, change: Change) -> Appended:
        tip, state, head, known, _ = await self._current(change, None)
        document = known.document if known else Document(tip.key, b"", "", 0)
        action = head.action if head else ""
        metadata: Mapping[str, Any] = head.metadata if head else {}
        return Appended(Known(document, known.state if known else None), tip, state, action, metadata)

    async def _earlier(self, key: str | None, fingerprint: bytes) -> Mapping[str, int] | None:
        record = await self._commands.earlier(key, fingerprint)
        return record["versions"] if record is not None else None

    def _command(
        self, key: str | None, fingerprint: bytes, planned: Sequence[Planned], token: str
    ) -> Sequence[Operation]:
        if key is None:
            return ()
        versions = {p.change.id: p.append.tip.version + len(p.append.events) + p.append.tip.deleted for p in planned}
        return self._commands.put(key, fingerprint, {"versions": versions}, token)


def _version_of(known: Known) -> int:
    if known.tip is not None:
        return known.tip.version
    return orjson.loads(known.document.body)["n"]


def _size(known: Known) -> int:
    image = known.image
    return len(known.document.body) + len(known.state or (image.state if image is not None else None) or b"")


def _kept_apart(image: Image | None) -> bytes | None:
    return image.state if image and image.state and len(image.state) > HEAD_STATE_BYTES else None
