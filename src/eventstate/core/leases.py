"""Locks as documents: who holds what, until when, and which number fences off those who held it before.

A lock on a resource is three documents. The *counter* is never deleted and knows the last number given out. The
*lease* says who holds the lock; its holder writes it anew to go on. The *fence* has the number in its key and exists
as long as its holder does, so a commit that checks it is refused once the lock has moved on, while renewals,
which touch the lease alone, do not disturb the holder's commits.

Every step that gives the lock to somebody or takes it away replaces the counter at the revision it was read at, so of
two such steps one is refused.
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import orjson

from eventstate.core.documents import (
    FENCE,
    LEASE,
    LOCK,
    Batch,
    Check,
    Delete,
    Document,
    Key,
    Operation,
    Precondition,
    Put,
    Require,
    Revision,
)
from eventstate.core.format import token_in
from eventstate.errors import CorruptionError, InvalidInputError

FENCES_PER_EPOCH: Final = 10**9
"""A fence's number is epoch * this + count, so that it grows over a restored backup too."""

_EPOCH_AND_COUNT: Final = r"([1-9][0-9]{0,2})-(0|[1-9][0-9]{0,8})"

HANDOVER_MICROS: Final = 2_000_000
"""How long a released lock is kept for the one who waited longest; after that anybody may have it."""


class Fence(NamedTuple):
    """Proof of holding a lock, to be checked by every commit made under it.

    Attributes:
        governor: whose lock.
        resource: what is locked.
        number: grows with each time the lock changes hands, for ever.
    """

    governor: str
    resource: str
    number: int

    @property
    def key(self) -> Key:
        return Key(FENCE, self.governor, self.resource, self.number)

    @property
    def check(self) -> Check:
        """Holds as long as the lock is held with this number."""
        return Check(self.key, Require.EXISTS)

    @property
    def epoch(self) -> int:
        """How often the store's data had been restored when it was given out, plus 1."""
        return self.number // FENCES_PER_EPOCH

    @property
    def token(self) -> str:
        """``epoch-count``, as callers see it."""
        epoch, count = divmod(self.number, FENCES_PER_EPOCH)
        return f"{epoch}-{count}"


def fence_of(governor: str, resource: str, token: object) -> Fence:
    """The fence that a lock token names.

    Raises:
        InvalidInputError: not a lock token.
    """
    found = re.fullmatch(_EPOCH_AND_COUNT, token, re.ASCII) if isinstance(token, str) else None
    if found is None:
        raise InvalidInputError(f"{token!r} is no lock token: pass the lock, or its lock_token such as '1-7'")
    epoch, count = found.groups()
    return Fence(governor, resource, int(epoch) * FENCES_PER_EPOCH + int(count))


class Counter(NamedTuple):
    """The last number given out.

    Attributes:
        next: for whom a released lock is kept (the id of its wait document).
        before: the commit token of the counter that this one replaced, where it was read: who released the lock
            without an answer finds there that it did.
    """

    last: int
    next: str | None = None
    before: str | None = None


class Lease(NamedTuple):
    """Who holds a lock. Times are microseconds by the store's clock."""

    number: int
    client_id: str
    ttl: int
    acquired_at: int
    purpose: str | None
    renewals: int = 0


class LockState(NamedTuple):
    """A lock as it was read. The documents were read one by one; the counter's revision guards what follows."""

    resource: str
    read_at: int
    counter: Document | None
    lease: Document | None

    @property
    def holder(self) -> Lease | None:
        """Who holds it, unless the lease has expired."""
        lease = self.last_lease
        return None if lease is None or self.is_expired else lease

    @property
    def last_lease(self) -> Lease | None:
        """The lease that is there, expired or not."""
        return decode_lease(self.lease) if self.lease is not None else None

    @property
    def is_expired(self) -> bool:
        """Whether there is a lease that was not renewed in time, by the store's clock alone."""
        return self.lease is not None and self.read_at - self.lease.written_at > decode_lease(self.lease).ttl

    @property
    def kept_for(self) -> str | None:
        """The wait for which a free lock is kept just now."""
        if self.counter is None or self.lease is not None:
            return None
        is_recent = self.read_at - self.counter.written_at <= HANDOVER_MICROS
        return decode_counter(self.counter).next if is_recent else None

    @property
    def expires_in(self) -> float:
        """Seconds until the lease expires unless it is renewed; 0 where there is none."""
        if self.lease is None:
            return 0.0
        return max(0.0, (self.lease.written_at + decode_lease(self.lease).ttl - self.read_at) / 1_000_000)


def counter_key(governor: str, resource: str) -> Key:
    return Key(LOCK, governor, resource)


def lease_key(governor: str, resource: str) -> Key:
    return Key(LEASE, governor, resource)


def plan_acquire(
    state: LockState,
    governor: str,
    *,
    epoch: int,
    client_id: str,
    ttl: int,
    purpose: str | None,
    token: str,
    extra: Sequence[Operation] = (),
) -> tuple[Batch, Fence]:
    """A batch that takes a lock which is free, or whose lease was read as expired, and the fence it gives."""
    counter = decode_counter(state.counter) if state.counter is not None else Counter(0)
    fence = Fence(governor, state.resource, max(counter.last, epoch * FENCES_PER_EPOCH) + 1)
    lease = Lease(fence.number, client_id, ttl, state.read_at, purpose)
    operations: list[Operation] = [
        _put_counter(state, governor, fence.number, None, token),
        Put(lease_key(governor, state.resource), encode_lease(lease, token), _as_read(state.lease)),
        Put(fence.key, orjson.dumps({"t": token, "client": client_id}), Require.ABSENT),
        *extra,
    ]
    if counter.last:
        operations.append(Delete(Fence(governor, state.resource, counter.last).key, Require.ANY))
    return Batch(token, operations), fence


def plan_renew(fence: Fence, lease: Lease, *, token: str) -> Batch:
    """A batch that writes the lease anew. It needs the fence alone: whoever has that has the lock."""
    renewed = lease._replace(renewals=lease.renewals + 1)
    put = Put(lease_key(fence.governor, fence.resource), encode_lease(renewed, token), Require.EXISTS)
    return Batch(token, (put, fence.check))


def plan_end(state: LockState, governor: str, *, kept_for: str | None, token: str) -> Batch:
    """A batch that ends whatever hold there is on a lock as it was read: release, cleanup and break."""
    assert state.counter is not None
    last = decode_counter(state.counter).last
    operations: list[Operation] = [
        _put_counter(state, governor, last, kept_for, token),
        Delete(Fence(governor, state.resource, last).key, Require.ANY),
    ]
    if state.lease is not None:
        operations.append(Delete(state.lease.key, state.lease.revision))
    return Batch(token, operations)


def plan_release(fence: Fence, counter: Revision, *, kept_for: str | None, token: str) -> Batch:
    """A batch with which a holder ends its own hold; ``counter`` is the counter's revision since it began."""
    body = _counter_body(Counter(fence.number, kept_for), token)
    return Batch(
        token,
        (
            Put(counter_key(fence.governor, fence.resource), body, counter),
            Delete(fence.key, Require.EXISTS),
            Delete(lease_key(fence.governor, fence.resource), Require.ANY),
        ),
    )


def _put_counter(state: LockState, governor: str, last: int, kept_for: str | None, token: str) -> Put:
    before = token_in(state.counter.body) if state.counter is not None else None
    body = _counter_body(Counter(last, kept_for, before), token)
    return Put(counter_key(governor, state.resource), body, _as_read(state.counter))


def _as_read(document: Document | None) -> Precondition:
    return Require.ABSENT if document is None else document.revision


def _counter_body(counter: Counter, token: str) -> bytes:
    members: dict[str, Any] = {"t": token, "last": counter.last}
    if counter.next is not None:
        members["next"] = counter.next
    if counter.before is not None:
        members["before"] = counter.before
    return orjson.dumps(members)


def decode_counter(document: Document) -> Counter:
    members = _members(document, "last")
    return Counter(members["last"], members.get("next"), members.get("before"))


def encode_lease(lease: Lease, token: str) -> bytes:
    return orjson.dumps(
        {
            "t": token,
            "n": lease.number,
            "client": lease.client_id,
            "ttl": lease.ttl,
            "at": lease.acquired_at,
            "purpose": lease.purpose,
            "renewals": lease.renewals,
        }
    )


def decode_lease(document: Document) -> Lease:
    members = _members(document, "n", "client", "ttl", "at", "purpose", "renewals")
    return Lease(
        members["n"], members["client"], members["ttl"], members["at"], members["purpose"], members["renewals"]
    )


def _members(document: Document, *names: str) -> dict[str, Any]:
    try:
        members = orjson.loads(document.body)
    except ValueError as error:
        raise CorruptionError(where=str(document.key), problem=f"not JSON ({error})") from None
    if not isinstance(members, dict):
        raise CorruptionError(where=str(document.key), problem="not a JSON object")
    found = cast("dict[str, Any]", members)
    missing = [name for name in names if name not in found]
    if missing:
        raise CorruptionError(where=str(document.key), problem=f"without {', '.join(missing)}")
    return found
