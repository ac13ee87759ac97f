"""From the events a caller wants to what one commit must hold: a stream as it is, and where new events lead."""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.documents import Document
from eventstate.core.expected import AnyVersion, require_version
from eventstate.core.fold import PLAIN, Fold
from eventstate.core.format import DELETED, NO_STATE, Head, Image, NewEvent, StoredEvent, Tip, decode_head, unborn
from eventstate.core.planner import Append, plan_head
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import CorruptionError, EncodingError, StateDeletedError
from eventstate.log.reading import Known, StreamReader, usable
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

NO_METADATA: Final[Mapping[str, Any]] = {}


class Change(NamedTuple):
    """Events that a caller wants in one stream.

    Attributes:
        events: makes the events from the current state and version. It may run again from a newer state.
        expected: the version the stream must have, or ANY.
        seen: what the caller loaded, to begin from without reading.
        metadata: stored form, shared by the events.
        reopen: begin a new incarnation if the stream is deleted.
        carries_state: each event brings the whole state after it, so that the state before is not needed.
    """

    id: str
    fold: Fold
    events: Callable[[Any, int], Sequence[NewEvent]]
    expected: int | AnyVersion
    metadata: Mapping[str, Any] = NO_METADATA
    seen: Known | None = None
    reopen: bool = False
    tolerate_deleted: bool = False
    carries_state: bool = False


class Planned(NamedTuple):
    """A change with what it comes to: an append from the tip of its stream, and the state after it.

    The state is `NO_STATE` where decoding the text of the append's image is all that there is to it.
    """

    change: Change
    append: Append
    state: Any


class Current(NamedTuple):
    """A stream as it is: ``head`` is None for one that never existed; ``rebuilt`` says that its log was read for it."""

    tip: Tip
    state: Any
    head: Head | None
    known: Known | None
    rebuilt: bool


class StreamPlanner:
    """Plans appends to the streams of one governor, and mends heads that stand in the way."""

    def __init__(
        self, store: Store, owner: str, reader: StreamReader, policy: SnapshotPolicy, committer: Committer
    ) -> None:
        self._store = store
        self._owner = owner
        self._reader = reader
        self._policy = policy
        self._committer = committer

    def plan(self, change: Change, current: Current) -> Planned | None:
        """What a change comes to from a stream as it is; None where it comes to nothing.

        Raises:
            VersionConflictError: the stream is not at the expected version.
            StateDeletedError: it is deleted and not to be reopened.
            EventStateError, or an error of the caller's own: an event can't be, or can't be stored.
        """
        tip, state = current.tip, current.state
        require_version(change.id, change.expected, tip.version)
        if tip.deleted and change.tolerate_deleted:
            return None
        if tip.deleted and not change.reopen:
            raise StateDeletedError(state_id=change.id, version=tip.version)
        if tip.deleted:
            state = change.fold.initial()
        version = tip.version + (1 if tip.deleted else 0)
        events = change.events(state, version)
        if not events:
            return None
        image, after = self.image(change, version, state, events)
        append = Append(tip, events, image, change.metadata, self._policy, change.reopen)
        return Planned(change, append, after)

    def image(self, change: Change, version: int, state: Any, events: Sequence[NewEvent]) -> tuple[Image | None, Any]:
        """What a head keeps of the state after events that follow ``version``, and that state as it will be read back.

        None and the state before for a deletion.
        """
        fold = change.fold
        result = events[-1].state or events[-1].result
        if result is not None and fold is PLAIN:
            return Image(result, fold.version, fold.schema), NO_STATE
        after = self._folded(change, version, state, events)
        if events[-1].type == DELETED:
            return None, after
        image = Image(fold.dump(after), fold.version, fold.schema, fold.label(after))
        return image, NO_STATE if fold.is_plain else _read_back(fold, image, change.id)

    def _folded(self, change: Change, version: int, state: Any, events: Sequence[NewEvent]) -> Any:
        """The state after new events, each read back from its stored form: what replay will see."""
        for event in events:
            version += 1
            where = f"event {self._owner}/{change.id} version {version}"
            stored = StoredEvent(version, event.type, _body_of(event), event.schema, 0, change.metadata, {})
            state = change.fold.step_new(state, stored, where)
        return state

    def remembered(self, change: Change, known: Known) -> Current | None:
        """A stream as this process has left it; None where its head must be looked at."""
        tip, image = known.tip, known.image
        if tip is None or image is None or image.state is None:
            return None
        if change.carries_state:
            return Current(tip, None, None, known, False)
        fold = change.fold
        plain = orjson.loads(image.state)
        if not usable(image, fold, change.id, plain, tip.version):
            return None
        return Current(tip, fold.load(plain, image.schema, change.id), None, known, False)

    async def current(self, id: str) -> Known | None:
        """A stream as it is now, its head mended if it was bad; None if it never existed."""
        try:
            document = await self._reader.head_document(id)
        except CorruptionError:
            document = await self.mend(id)
        return Known(document) if document else None

    async def opened(self, id: str, fold: Fold, known: Known | None) -> Current:
        """What a head says; the state rebuilt from the log where it does not hold it, the head mended if it is bad."""
        if known is None:
            return Current(unborn(self._owner, id), fold.initial(), None, None, False)
        try:
            head, state, rebuilt = await self._reader.state_of(known, fold)
        except CorruptionError:
            if known.document.key.id != id:
                raise
            known = Known(await self.mend(id))
            head, state, rebuilt = await self._reader.state_of(known, fold)
        return Current(head.tip, state, head, known, rebuilt)

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


def _body_of(event: NewEvent) -> dict[str, Any]:
    body: dict[str, Any] = {"type": event.type}
    if event.data is not None:
        body["data"] = orjson.loads(event.data)
    if event.state is not None:
        body["state"] = orjson.loads(event.state)
    if event.delta is not None:
        body["delta"] = orjson.loads(event.delta)
    return body
