"""Who waits for which lock, the circles that waits form, and who of a circle gives way.

Each waiting client has one document. Its key begins with a digest of the resource and the time it began to wait, so
the waits for one resource are a key range, the longest first.
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.documents import WAIT, Batch, Check, Document, Key, Operation, Put, Require
from eventstate.core.leases import Fence, Lease
from eventstate.errors import CorruptionError

BEAT_SECONDS: Final = 1.0
"""A wait is written anew so often by whoever waits."""

STALE_MICROS: Final = 4_000_000
"""A wait not written for so long is that of a client that died; it counts for nothing."""


class Wait(NamedTuple):
    """One client waiting for one lock. ``since`` is when it began, ``cycle`` is set once it was chosen to give way."""

    resource: str
    client_id: str
    since: int
    cycle: tuple[str, ...] = ()
    beats: int = 0


class StoredWait(NamedTuple):
    """A wait as it was read."""

    wait: Wait
    document: Document

    def is_stale(self, read_at: int) -> bool:
        """Whether nobody has renewed it for so long that its client must be dead."""
        return read_at - self.document.written_at > STALE_MICROS

    def is_live(self, read_at: int) -> bool:
        """Whether somebody still waits, and was not told to give way."""
        return not self.wait.cycle and not self.is_stale(read_at)


class Deadlock(NamedTuple):
    """A circle of waits, each for a lock that the next one's client holds; beginning with the victim."""

    waits: Sequence[StoredWait]
    fences: Sequence[Fence]

    @property
    def victim(self) -> StoredWait:
        return self.waits[0]

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(stored.wait.client_id for stored in self.waits)


def wait_key(governor: str, wait: Wait, unique: str) -> Key:
    return Key(WAIT, governor, f"{wait_prefix(wait.resource)}{wait.since:016d}:{unique}")


def wait_prefix(resource: str) -> str:
    """What the ids of all waits for a resource begin with."""
    return hashlib.sha256(resource.encode()).hexdigest()[:24] + ":"


def encode_wait(wait: Wait, token: str) -> bytes:
    members: dict[str, Any] = {
        "t": token,
        "resource": wait.resource,
        "client": wait.client_id,
        "since": wait.since,
        "beats": wait.beats,
    }
    if wait.cycle:
        members["cycle"] = wait.cycle
    return orjson.dumps(members)


def decode_wait(document: Document) -> StoredWait:
    """A wait document read back.

    Raises:
        CorruptionError: it is none.
    """
    try:
        members = orjson.loads(document.body)
        wait = Wait(
            members["resource"],
            members["client"],
            members["since"],
            tuple(members.get("cycle", ())),
            members["beats"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(document.key), problem=f"no wait ({error})") from None
    return StoredWait(wait, document)


def find_deadlocks(waits: Iterable[StoredWait], holders: Mapping[str, Lease], governor: str) -> list[Deadlock]:
    """The circles among live waits; ``holders`` are the unexpired leases by resource. Each client is in one at most."""
    waiting: dict[str, list[StoredWait]] = {}
    for stored in sorted(waits, key=_age):
        holder = holders.get(stored.wait.resource)
        # Whoever waits for a lease of its own name waits for an earlier life of itself, which expires.
        if holder is not None and holder.client_id != stored.wait.client_id:
            waiting.setdefault(stored.wait.client_id, []).append(stored)
    found: list[Deadlock] = []
    done: set[str] = set()
    for client in sorted(waiting):
        if client in done:
            continue
        circle = _circle(client, waiting, holders, done)
        if circle:
            done.update(stored.wait.client_id for stored in circle)
            found.append(_deadlock(circle, holders, governor))
        done.add(client)
    return found


def _circle(
    start: str, waiting: Mapping[str, Sequence[StoredWait]], holders: Mapping[str, Lease], done: set[str]
) -> list[StoredWait]:
    """The waits on a way from a client back to itself, or nothing."""
    path: list[StoredWait] = []
    branches = [iter(waiting[start])]
    entered = {start}
    while branches:
        stored = next(branches[-1], None)
        if stored is None:
            branches.pop()
            if path:
                path.pop()
            continue
        holder = holders[stored.wait.resource].client_id
        if holder == start:
            return [*path, stored]
        if holder in entered or holder in done or holder not in waiting:
            continue
        entered.add(holder)
        path.append(stored)
        branches.append(iter(waiting[holder]))
    return []


def _deadlock(circle: Sequence[StoredWait], holders: Mapping[str, Lease], governor: str) -> Deadlock:
    victim = max(range(len(circle)), key=lambda index: _age(circle[index]))
    waits = [*circle[victim:], *circle[:victim]]
    resources = [stored.wait.resource for stored in waits]
    return Deadlock(waits, [Fence(governor, name, holders[name].number) for name in resources])


def _age(stored: StoredWait) -> tuple[int, str, str]:
    """Youngest last: by when it began to wait, then by client."""
    return stored.wait.since, stored.wait.client_id, stored.document.key.id


def plan_mark(deadlock: Deadlock, *, token: str) -> Batch:
    """A batch that tells the victim to give way, if all of the circle is still there."""
    victim = deadlock.victim
    marked = victim.wait._replace(cycle=deadlock.clients)
    operations: list[Operation] = [
        Put(victim.document.key, encode_wait(marked, token), victim.document.revision),
        *(Check(stored.document.key, Require.EXISTS) for stored in deadlock.waits[1:]),
        *(fence.check for fence in deadlock.fences),
    ]
    return Batch(token, operations)
