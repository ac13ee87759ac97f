"""Appending to streams: from a tip this process knows, one round trip, and again if it was passed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson

from eventstate.core.backoff import full_jitter
from eventstate.core.documents import COMMAND, Committed, Document, Key, Operation, Put, Refused, Require
from eventstate.core.expected import ANY, AnyVersion, require_version
from eventstate.core.fold import Fold
from eventstate.core.format import DELETED, Head, Image, NewEvent, StoredEvent, Tip, decode_head, unborn
from eventstate.core.ids import check_id
from eventstate.core.planner import HEAD_STATE_BYTES, Append, Plan, last_metadata, plan_appends, plan_head
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import (
    CorruptionError,
    EncodingError,
    IdempotencyMismatchError,
    StateDeletedError,
    TransactionConflictError,
)
from eventstate.log.reading import Known, StreamReader
from eventstate.stores.base import Store
from eventstate.stores.limits import holds
from eventstate.transactions.commit import Committer

ATTEMPTS = 20
"""How often an append starts again from a newer tip where its caller allows it; bounded, with full jitter."""

MAX_KNOWN = 10_000
MAX_KNOWN_BYTES = 64 * 1024 * 1024
"""Bounds of what an appender remembers; the oldest goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Events that a caller wants in one stream.

    Attributes:
        events: makes the events from the current state and version. It may run again from a newer state.
        expected: the version the stream must have, or ANY.
        seen: what the caller loaded, to begin from without reading.
        metadata: stored form, shared by the events.
        reopen: begin a new incarnation if the stream is deleted.
    """

    id: str
    fold: Fold
    events: Callable[[Any, int], Sequence[NewEvent]]
    expected: int | AnyVersion
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seen: Known | None = None
    reopen: bool = False
    tolerate_deleted: bool = False


class Appended(NamedTuple):
    """One stream after an append; ``state`` is as it will be read back, None after a deletion."""

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


class _Planned(NamedTuple):
    change: Change
    append: Append
    state: Any


class Appender:
    """Appends to the streams of one governor, remembering the tips it has seen."""

    def __init__(self, store: Store, owner: str, reader: StreamReader, policy: SnapshotPolicy) -> None:
        self._store = store
        self._owner = owner
        self._reader = reader
        self._policy = policy
        self._committer = Committer(store, owner)
        self._known: dict[str, Known] = {}
        self._known_bytes = 0
        self._mutex = threading.Lock()

    @property
    def committer(self) -> Committer:
        return self._committer

    def remember(self, id: str, known: Known) -> None:
        """Keep what is known of a stream for the next append."""
        with self._mutex:
            self._forget(id)
            self._known[id] = known
            self._known_bytes += _size(known)
            while len(self._known) > MAX_KNOWN or self._known_bytes > MAX_KNOWN_BYTES:
                self._forget(next(iter(self._known)))

    def forget(self, id: str) -> None:
        """Read the stream anew before the next append."""
        with self._mutex:
            self._forget(id)

    def _forget(self, id: str) -> None:
        known = self._known.pop(id, None)
        if known is not None:
            self._known_bytes -= _size(known)

    async def append(
        self,
        changes: Sequence[Change],
        *,
        idempotency_key: str | None = None,
        fingerprint: bytes = b"",
        extra: Extra = _nothing,
    ) -> Receipt:
        """Append to all streams in one commit, or to none.

        Raises:
            VersionConflictError: a stream is not at its expected version.
            StateDeletedError: a stream is deleted and not to be reopened.
            TransactionConflictError: an ``extra`` operation was refused, or others were faster every time.
            IdempotencyMismatchError: the key was used for something else.
            CommitUnknownError, TokenExpiredError: see their texts.
        """
        fresh = False
        attempt = 0
        while True:
            attempt += 1
            try:
                planned = [await self._plan(change, fresh) for change in changes]
            except Exception:
                if not fresh:  # judged by remembered states, which others may have changed since
                    fresh = True
                    continue
                # It speaks of this attempt; whether the command ran before, only its own record tells.
                earlier = await self._earlier(idempotency_key, fingerprint)
                if earlier is not None:
                    return Receipt((), earlier, None)
                raise
            planned_changes = [p for p in planned if p is not None]
            if not planned_changes and not fresh:
                fresh = True
                continue
            if not planned_changes:
                earlier = await self._earlier(idempotency_key, fingerprint)
                if earlier is not None:
                    return Receipt((), earlier, None)
                return Receipt([await self._unchanged(change) for change in changes], None, None)
            token = self._store.runtime.unique()
            others = extra(token)
            command = self._command(idempotency_key, fingerprint, planned_changes, token)
            plan = plan_appends(
                [p.append for p in planned_changes],
                token=token,
                now=self._store.runtime.now(),
                node=self._store.node,
                extra=(*others, *command),
            )
            result = await self._committer.commit(plan.batch)
            if isinstance(result, Committed):
                return self._receipt(changes, planned_changes, plan, result)
            earlier = await self._earlier(idempotency_key, fingerprint)
            if earlier is not None:
                return Receipt((), earlier, None)
            await self._judge_refusal(result, others, [p.append.tip for p in planned_changes], attempt)
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
            runtime = self._store.runtime
            await runtime.sleep(full_jitter(attempt - 1, runtime.random()))

    async def _check_extra(self, extra: Sequence[Operation]) -> None:
        """Where the store can't tell which precondition failed, look whether it was one of the caller's."""
        found = (await self._store.get([operation.key for operation in extra])).documents
        for operation in extra:
            document = found.get(operation.key)
            if not holds(operation.when, document.revision if document else None):
                raise TransactionConflictError(keys=(str(operation.key),))

    async def _plan(self, change: Change, fresh: bool) -> _Planned | None:
        known = None if fresh else change.seen or self._known.get(change.id)
        if known is not None and change.seen is None and change.expected not in (ANY, _version_of(known)):
            # What we remember may be old: an unexpected version is a reason to look again, not yet a conflict.
            known = None
        if known is None:
            known = await self.current(change.id)
        head, state = await self._current(change, known)
        tip = head.tip if head else unborn(self._owner, change.id)
        require_version(change.id, change.expected, tip.version)
        if tip.deleted and change.tolerate_deleted:
            return None
        if tip.deleted and not change.reopen:
            raise StateDeletedError(state_id=change.id, version=tip.version)
        if tip.deleted:
            state = change.fold.initial()
        events = change.events(state, tip.version)
        if not events:
            return None
        after = self._fold(change, tip, state, events)
        image = None
        if events[-1].type != DELETED:
            fold = change.fold
            image = Image(fold.dump(after), fold.version, fold.schema, fold.label(after))
            after = _read_back(fold, image, change.id)
        append = Append(tip, events, image, change.metadata, self._policy, change.reopen)
        return _Planned(change, append, after)

    async def current(self, id: str) -> Known | None:
        """A stream as it is now, its head mended if it was bad; None if it never existed."""
        try:
            document = await self._reader.head_document(id)
        except CorruptionError:
            document = await self.mend(id)
        return Known(document) if document else None

    async def _current(self, change: Change, known: Known | None) -> tuple[Head | None, Any]:
        if known is None:
            return None, change.fold.initial()
        try:
            head, state, rebuilt = await self._reader.state_of(known, change.fold)
        except CorruptionError:
            if known.document.key.id != change.id:
                raise
            known = Known(await self.mend(change.id))
            head, state, rebuilt = await self._reader.state_of(known, change.fold)
        if rebuilt:
            self.remember(change.id, Known(known.document, change.fold.dump(state)))
        return head, state

    async def mend(self, id: str) -> Document:
        """Write a head anew from its entries, where it is corrupt or missing, and return it.

        The state is left out: whoever knows the fold rebuilds it.

        Raises:
            CorruptionError: the entries are corrupt too.
        """
        sound = await self._sound_head(id)
        if sound is not None:
            return sound
        tip, action, metadata = await self._reader.repaired(id)
        plan = plan_head(tip, None, action, metadata, token=self._store.runtime.unique())
        await self._committer.commit_guarded(plan.batch)
        document = await self._reader.head_document(id)
        if document is None:
            raise CorruptionError(where=str(tip.key), problem="it can't be written anew")
        return document

    async def _sound_head(self, id: str) -> Document | None:
        """The head, if another has mended it meanwhile or it never was the head that was bad."""
        key = self._reader.key(id)
        document = (await self._store.get([key])).documents.get(key)
        try:
            if document is not None:
                decode_head(document)
        except CorruptionError:
            return None
        return document

    def _fold(self, change: Change, tip: Tip, state: Any, events: Sequence[NewEvent]) -> Any:
        """The state after new events, each read back from its stored form: what replay will see."""
        version = tip.version + (1 if tip.deleted else 0)
        for event in events:
            version += 1
            where = f"event {self._owner}/{change.id} version {version}"
            stored = StoredEvent(version, event.type, _body_of(event), event.schema, 0, change.metadata, {})
            state = change.fold.step_new(state, stored, where)
        return state

    def _receipt(
        self, changes: Sequence[Change], planned: Sequence[_Planned], plan: Plan, result: Committed
    ) -> Receipt:
        bodies = {op.key: op.body for op in plan.batch.operations if isinstance(op, Put)}
        streams: list[Appended] = []
        for item, planned_tip in zip(planned, plan.tips, strict=True):
            revision = result.revisions.get(planned_tip.key)
            tip = replace(planned_tip, revision=revision)
            image = item.append.image
            known = Known(Document(tip.key, bodies[tip.key], revision or "", result.at), _kept_apart(image))
            if revision is None:  # settled by its entry while the head had already moved on
                self.forget(tip.id)
            else:
                self.remember(tip.id, known)
            action = item.append.events[-1].type
            state = item.state if image else None
            streams.append(Appended(known, tip, state, action, last_metadata(item.append)))
        return Receipt(streams, None, result.position)

    async def _unchanged(self, change: Change) -> Appended:
        known = await self.current(change.id)
        head, state = await self._current(change, known)
        tip = head.tip if head else unborn(self._owner, change.id)
        document = known.document if known else Document(tip.key, b"", "", 0)
        action = head.action if head else ""
        metadata: Mapping[str, Any] = head.metadata if head else {}
        return Appended(Known(document, known.state if known else None), tip, state, action, metadata)

    async def _earlier(self, key: str | None, fingerprint: bytes) -> Mapping[str, int] | None:
        if key is None:
            return None
        command = Key(COMMAND, self._owner, key)
        document = (await self._store.get([command])).documents.get(command)
        if document is None:
            return None
        record = orjson.loads(document.body)
        if record["fingerprint"] != _digest(fingerprint):
            raise IdempotencyMismatchError(key=key)
        return record["versions"]

    def _command(
        self, key: str | None, fingerprint: bytes, planned: Sequence[_Planned], token: str
    ) -> Sequence[Operation]:
        if key is None:
            return ()
        versions = {p.change.id: p.append.tip.version + len(p.append.events) + p.append.tip.deleted for p in planned}
        record = {
            "t": token,
            "fingerprint": _digest(fingerprint),
            "minted": self._store.runtime.now(),
            "versions": versions,
        }
        return (Put(Key(COMMAND, self._owner, key), orjson.dumps(record), Require.ABSENT),)


def _digest(fingerprint: bytes) -> str:
    return hashlib.sha256(fingerprint).hexdigest()


def _version_of(known: Known) -> int:
    return orjson.loads(known.document.body)["n"]


def _read_back(fold: Fold, image: Image, id: str) -> Any:
    """A new state as every later load will see it.

    Raises:
        EncodingError: it could be written, but not read.
    """
    assert image.state is not None
    try:
        return fold.load(orjson.loads(image.state), fold.schema, id)
    except CorruptionError as error:
        raise EncodingError(
            path="$", problem=f"the new state of {id!r} could not be read back: {error.problem}"
        ) from error


def _size(known: Known) -> int:
    return len(known.document.body) + len(known.state or b"")


def _kept_apart(image: Image | None) -> bytes | None:
    return image.state if image and image.state and len(image.state) > HEAD_STATE_BYTES else None


def _body_of(event: NewEvent) -> dict[str, Any]:
    body: dict[str, Any] = {"type": event.type}
    for name, text in (("data", event.data), ("state", event.state), ("delta", event.delta)):
        if text is not None:
            body[name] = orjson.loads(text)
    return body


def checked_key(value: object) -> str | None:
    """An idempotency key that can be used, or None.

    Raises:
        InvalidIdError: not text, empty, too long or not Unicode text.
    """
    return None if value is None else check_id("idempotency key", value)
