"""From tips and events to one batch: the heart of every append.

The create of an entry alone is no compare-and-swap: an expected version inside another's entry,
beyond the tip or below a pruned range would succeed. So the head carries it: its revision must be
the one the append was planned from (absent for a stream that never existed), and the entry's
absence is only a second guard.
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eventstate.core.documents import ENTRY, HEAD, Batch, Check, Delete, Key, Operation, Put, Require
from eventstate.core.format import (
    DELETED,
    REOPENED,
    Image,
    NewEvent,
    Tip,
    encode_entry,
    encode_head,
    encode_snapshot,
    entry_key,
    snapshot_key,
)
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import DocumentTooLargeError, InvalidInputError, StateDeletedError

HEAD_STATE_BYTES = 64 * 1024
"""A larger state is left out of the head; loading then takes the newest snapshot and the tail."""

MAX_STATE_BYTES = 892 * 1024
"""What a snapshot can hold on every backend. A state that has grown beyond, by however small steps, is refused:
without snapshots each load would replay all there is."""


class Append(NamedTuple):
    """Events for one stream, and the state they lead to (None: unknown to the writer)."""

    tip: Tip
    events: Sequence[NewEvent]
    image: Image | None
    metadata: Mapping[str, Any]
    policy: SnapshotPolicy
    reopen: bool = False
    snapshot: bool = False


class Plan(NamedTuple):
    """A batch, and the tips that hold once it is committed (their revisions come with the answer).

    ``heads`` are the bodies of the heads of its appends, in the same order.
    """

    batch: Batch
    tips: tuple[Tip, ...]
    heads: tuple[bytes, ...] = ()


def plan_appends(
    appends: Sequence[Append], *, token: str, now: int, node: str, extra: Sequence[Operation] = ()
) -> Plan:
    """One batch for appends to different streams, together with further operations.

    Raises:
        StateDeletedError: a stream is deleted and the append does not reopen it.
        InvalidInputError: no events, or two appends to one stream.
        DocumentTooLargeError: a state could never be kept as a snapshot.
    """
    operations: list[Operation] = []
    heads: list[bytes] = []
    tips = [_plan_one(append, operations, heads, token, now, node) for append in appends]
    if len(tips) > 1 and len({tip.id for tip in tips}) != len(tips):
        raise InvalidInputError("two appends of one call name the same stream: put their events into one")
    operations.extend(extra)
    return Plan(Batch(token, tuple(operations)), tuple(tips), tuple(heads))


def _plan_one(append: Append, operations: list[Operation], heads: list[bytes], token: str, now: int, node: str) -> Tip:
    tip, events, image, metadata, policy, _, snapshot = append
    owner, id, revision, before, _, at, clock, incarnation, deleted, base, snapshots, _ = tip
    if not events:
        raise InvalidInputError(f"no events to append to {id!r}: pass at least one")
    if deleted:
        events = _reopened(append)
        incarnation += 1
    at = max(at, now)
    clock = {**clock, node: clock.get(node, 0) + 1}
    body, digest = encode_entry(tip, events, token=token, at=at, clock=clock, metadata=metadata)
    version = before + len(events)
    action = events[-1].type
    deleted = action == DELETED
    after = Tip(owner, id, None, version, digest, at, clock, incarnation, deleted, base, snapshots, version)
    operations.append(Put(Key(ENTRY, owner, id, version), body, Require.ABSENT))
    if deleted:
        image = None
    elif image is not None and image.state is not None:
        if len(image.state) > MAX_STATE_BYTES:
            raise DocumentTooLargeError(what=f"the state of {id!r}", size=len(image.state), limit=MAX_STATE_BYTES)
        if snapshot or policy.due(before, version):
            after = _with_snapshot(after, image, policy, operations, token)
        if len(image.state) > HEAD_STATE_BYTES:
            image = image._replace(state=None)
    head = encode_head(after, image, token=token, action=action, metadata=last_metadata(append))
    operations.append(Put(Key(HEAD, owner, id), head, Require.ABSENT if revision is None else revision))
    heads.append(head)
    return after


def last_metadata(append: Append) -> Mapping[str, Any]:
    """The metadata of an append's last event, which is what the head shows."""
    own = append.events[-1].metadata
    return {**append.metadata, **own} if own else append.metadata


def _reopened(append: Append) -> Sequence[NewEvent]:
    if not append.reopen:
        raise StateDeletedError(state_id=append.tip.id, version=append.tip.version)
    return (NewEvent(REOPENED), *append.events)


def _with_snapshot(tip: Tip, image: Image, policy: SnapshotPolicy, operations: list[Operation], token: str) -> Tip:
    # What a pruned stream begins at is never dropped: there is nothing else to replay from.
    base = tip.base.version if tip.base else None
    kept, dropped = policy.split((*tip.snapshots, tip.version), base)
    body = encode_snapshot(tip, image, token=token)
    operations.append(Put(snapshot_key(tip.owner, tip.id, tip.version), body, Require.ANY))
    operations.extend(Delete(snapshot_key(tip.owner, tip.id, version), Require.ANY) for version in dropped)
    return tip._replace(snapshots=kept)


def plan_snapshot(
    tip: Tip, image: Image, action: str, metadata: Mapping[str, Any], policy: SnapshotPolicy, *, token: str
) -> Plan:
    """A batch that writes a snapshot of the state at ``tip`` and lists it in the head; the version stays.

    It checks that the entry it belongs to exists, and replaces the head only at the tip's revision.
    """
    assert tip.revision is not None
    operations: list[Operation] = [Check(entry_key(tip, tip.last), Require.EXISTS)]
    after = _with_snapshot(tip, image, policy, operations, token)
    kept = image._replace(state=None) if image.state is not None and len(image.state) > HEAD_STATE_BYTES else image
    operations.append(
        Put(tip.key, encode_head(after, kept, token=token, action=action, metadata=metadata), tip.revision)
    )
    return Plan(Batch(token, tuple(operations)), (after._replace(revision=None),))


def plan_head(tip: Tip, image: Image | None, action: str, metadata: Mapping[str, Any], *, token: str) -> Plan:
    """A batch that rewrites the head alone: same version, new revision.

    Repair, a changed fold and the killing of a commit in flight (core.settlement) use it.
    """
    if image is not None and image.state is not None and len(image.state) > HEAD_STATE_BYTES:
        image = image._replace(state=None)
    body = encode_head(tip, image, token=token, action=action, metadata=metadata)
    when = Require.ABSENT if tip.revision is None else tip.revision
    return Plan(Batch(token, (Put(tip.key, body, when),)), (tip._replace(revision=None),))
