"""The bodies of entries, heads and snapshots: storage format 1, described in docs/reference/storage-format.md.

Values that a user handed in travel through here as JSON text that was made once (`orjson.Fragment`).
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.chain import genesis, head_context, key_context, seal, unseal, verified
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Document, Key, Revision, made
from eventstate.errors import CorruptionError, FormatError

DELETED: Final = "$deleted"
REOPENED: Final = "$reopened"
FORKED: Final = "$forked"
"""The first event of a fork: it carries the parent's state, and says whose it was."""
RESERVED: Final = "$"
"""Event types beginning with it are the library's own."""

NO_STATE: Final = object()
"""Stands for a state that a head does not hold (JSON null is a state)."""


class NewEvent(NamedTuple):
    """An event to append. At most one of ``data``, ``state`` and ``delta`` besides a state; all JSON text.

    ``result`` is the state after it, where that is known beforehand; it is not stored in the entry.
    """

    type: str
    data: bytes | None = None
    state: bytes | None = None
    delta: bytes | None = None
    schema: int = 1
    metadata: Mapping[str, Any] | None = None
    result: bytes | None = None


class StoredEvent(NamedTuple):
    """An event read back. ``body`` holds ``data``, or ``state`` or ``delta``, decoded."""

    version: int
    type: str
    body: Mapping[str, Any]
    schema: int
    at: int
    metadata: Mapping[str, Any]
    clock: Mapping[str, int]


class Entry(NamedTuple):
    """The events of one commit in one stream. ``events`` and ``members`` are as they were decoded."""

    version: int
    first: int
    digest: bytes
    events: Sequence[Mapping[str, Any]]
    members: Mapping[str, Any]

    @property
    def token(self) -> str:
        return self.members["t"]

    @property
    def at(self) -> int:
        return self.members["at"]

    @property
    def clock(self) -> Mapping[str, int]:
        return self.members["c"]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Of all its events."""
        return self.members.get("m", _NOTHING)

    def event(self, version: int) -> StoredEvent:
        """One of its events, with its metadata."""
        body = self.events[version - self.first]
        own = self.metadata
        metadata = {**own, **body["m"]} if "m" in body else own
        return StoredEvent(version, body["type"], body, body.get("v", 1), self.at, metadata, self.clock)

    def each(self) -> list[StoredEvent]:
        """Its events, with their versions and metadata."""
        return [self.event(version) for version in range(self.first, self.version + 1)]


class Base(NamedTuple):
    """Where a pruned stream begins: everything up to ``version`` is gone, ``digest`` is the chain's there."""

    version: int
    digest: bytes


NO_CLOCK: Final[Mapping[str, int]] = {}


class Tip(NamedTuple):
    """What an appender must know of a stream: where its next entry goes."""

    owner: str
    id: str
    revision: Revision | None
    version: int
    digest: bytes
    at: int = 0
    clock: Mapping[str, int] = NO_CLOCK
    incarnation: int = 1
    deleted: bool = False
    base: Base | None = None
    snapshots: tuple[int, ...] = ()
    last: int = 0

    @property
    def key(self) -> Key:
        return Key(HEAD, self.owner, self.id)

    def at_revision(self, revision: Revision | None) -> "Tip":
        """The same tip, its head at this revision."""
        return Tip(self.owner, self.id, revision, *self[3:])


class Image(NamedTuple):
    """A state as a head or snapshot keeps it. ``state`` is JSON text, None where it is too large for a head."""

    state: bytes | None
    fold: int
    schema: int
    label: str | None = None


class Head(NamedTuple):
    """A head document read back."""

    tip: Tip
    image: Image | None
    token: str
    action: str
    metadata: Mapping[str, Any]


class Snapshot(NamedTuple):
    """A snapshot read back: the state at an entry boundary, and the chain's digest there.

    ``is_base`` says that a pruned stream begins at it; ``incarnation`` is that of the stream there.
    """

    version: int
    digest: bytes
    at: int
    image: Image
    is_base: bool = False
    incarnation: int = 1


def unborn(owner: str, id: str) -> Tip:
    """The tip of a stream that never existed."""
    return Tip(owner=owner, id=id, revision=None, version=0, digest=genesis(owner, id))


def entry_key(tip: Tip, version: int) -> Key:
    return Key(ENTRY, tip.owner, tip.id, version)


def snapshot_key(owner: str, id: str, version: int) -> Key:
    return Key(SNAPSHOT, owner, id, version)


def encode_entry(
    tip: Tip, events: Sequence[NewEvent], *, token: str, at: int, clock: Mapping[str, int], metadata: Mapping[str, Any]
) -> tuple[bytes, bytes]:
    """The sealed body of the entry that follows ``tip``, and its digest."""
    members: dict[str, Any] = {"t": token, "n": tip.version + len(events), "at": at, "c": clock}
    if metadata:
        members["m"] = metadata
    members["e"] = list(map(_event_members, events))
    return seal(tip.digest, orjson.dumps(members))


def _event_members(event: NewEvent) -> dict[str, Any]:
    type_, data, state, delta, schema, metadata, _ = event
    members: dict[str, Any] = {"type": type_}
    if schema != 1:
        members["v"] = schema
    if data is not None:
        members["data"] = orjson.Fragment(data)
    if state is not None:
        members["state"] = orjson.Fragment(state)
    if delta is not None:
        members["delta"] = orjson.Fragment(delta)
    if metadata:
        members["m"] = metadata
    return members


def decode_entry(document: Document, previous: bytes) -> Entry:
    """An entry read from the store, checked against the digest of the entry before it.

    Raises:
        CorruptionError: the bytes are not what was written at this place of this stream.
    """
    key, body, _, _ = document
    digest = verified(previous, body, key)
    members = load_members(body, key)
    events = members["e"]
    version = members["n"]
    if version != key.n:
        raise CorruptionError(where=str(key), problem=f"it holds version {version}")
    return made(Entry, (version, version - len(events) + 1, digest, events, members))


_NOTHING: Final[Mapping[str, Any]] = {}


FORMAT: Final = 1
"""Of bodies. One of a later format says so in a member ``f``; format 1 has none."""


def load_members(body: bytes, where: Key | str) -> Any:
    """Decode the members of a body whose digest was right, with the digest among them or without.

    Raises:
        CorruptionError: not JSON.
        FormatError: a newer version of this library wrote it.
    """
    try:
        members = orjson.loads(body)
    except ValueError as error:
        raise CorruptionError(where=str(where), problem=f"not JSON ({error})") from None
    if "f" in members:
        raise FormatError(store=str(where), found=members["f"], supported=FORMAT)
    return members


def token_in(body: bytes) -> str | None:
    """The commit token in a stored body, without checking its digest; None if there is none."""
    try:
        token = orjson.loads(body)["t"]
    except (ValueError, KeyError, TypeError):
        return None
    return token if isinstance(token, str) else None


def encode_head(tip: Tip, image: Image | None, *, token: str, action: str, metadata: Mapping[str, Any]) -> bytes:
    """The sealed body of a head; ``tip.revision`` is not part of it."""
    owner, id, _, version, digest, at, clock, incarnation, deleted, base, snapshots, last = tip
    members: dict[str, Any] = {
        "t": token,
        "n": version,
        "last": last,
        "chain": digest.decode("ascii"),
        "at": at,
        "c": clock,
        "action": action,
    }
    if metadata:
        members["m"] = metadata
    if incarnation != 1:
        members["inc"] = incarnation
    if deleted:
        members["deleted"] = True
    if base is not None:
        members["base"] = {"n": base.version, "chain": base.digest.decode("ascii")}
    if snapshots:
        members["snapshots"] = snapshots
    if image is not None:
        _add_image(members, image)
    return seal(head_context(owner, id), orjson.dumps(members))[0]


def _add_image(members: dict[str, Any], image: Image) -> None:
    state, members["fold"], members["v"], label = image
    if label is not None:
        members["label"] = label
    if state is not None:
        members["state"] = orjson.Fragment(state)


def sealed_members(document: Document) -> Any:
    """The members of a head, snapshot or document, checked against the digest among them.

    Raises:
        CorruptionError: the bytes do not match their digest.
        FormatError: a newer version of this library wrote it.
    """
    key, body, _, _ = document
    verified(key_context(key), body, key)
    return load_members(body, key)


def decode_head(document: Document) -> tuple[Head, Any]:
    """A head read from the store, and its state decoded (`NO_STATE` where it holds none).

    The state comes decoded, not as text: ``image.state`` is None.

    Raises:
        CorruptionError: the bytes do not match their digest.
    """
    key = document.key
    members = sealed_members(document)
    base = members.get("base")
    tip = Tip(
        owner=key.owner,
        id=key.id,
        revision=document.revision,
        version=members["n"],
        digest=members["chain"].encode("ascii"),
        at=members["at"],
        clock=members["c"],
        incarnation=members.get("inc", 1),
        deleted=members.get("deleted", False),
        base=Base(base["n"], base["chain"].encode("ascii")) if base else None,
        snapshots=tuple(members.get("snapshots", ())),
        last=members["last"],
    )
    image = None
    if "fold" in members:
        image = Image(None, members["fold"], members["v"], members.get("label"))
    return Head(tip, image, members["t"], members["action"], members.get("m", _NOTHING)), members.get("state", NO_STATE)


def encode_snapshot(tip: Tip, image: Image, *, token: str, is_base: bool = False) -> bytes:
    """The sealed body of a snapshot of the state at ``tip``; ``is_base`` for the one a pruned stream begins at."""
    members: dict[str, Any] = {
        "t": token,
        "n": tip.version,
        "chain": tip.digest.decode("ascii"),
        "at": tip.at,
    }
    if is_base:
        members["base"] = True
        if tip.incarnation != 1:
            members["inc"] = tip.incarnation
    _add_image(members, image)
    return seal(key_context(snapshot_key(tip.owner, tip.id, tip.version)), orjson.dumps(members))[0]


def decode_snapshot(document: Document) -> tuple[Snapshot, Any]:
    """A snapshot read from the store, and its state decoded.

    Raises:
        CorruptionError: the bytes do not match their digest, or it is not of this place.
    """
    members = sealed_members(document)
    if members["n"] != document.key.n or "state" not in members:
        raise CorruptionError(where=str(document.key), problem="it is not the snapshot of this version")
    image = Image(None, members["fold"], members["v"], members.get("label"))
    snapshot = Snapshot(
        version=members["n"],
        digest=members["chain"].encode("ascii"),
        at=members["at"],
        image=image,
        is_base=members.get("base", False),
        incarnation=members.get("inc", 1),
    )
    return snapshot, members["state"]


def retokened_head(document: Document, token: str) -> bytes:
    """The body of the same head under another token: same content, and a new revision once written.

    Raises:
        CorruptionError: the stored bytes do not match their digest.
    """
    context = key_context(document.key)
    where = str(document.key)
    members = load_members(unseal(context, document.body, where)[0], where)
    members["t"] = token
    return seal(context, orjson.dumps(members))[0]


def rebased_head(document: Document, base: Base, snapshots: Sequence[int], token: str) -> bytes:
    """The body of the same head once the stream begins at ``base``: same version and state, other snapshots.

    Raises:
        CorruptionError: the stored bytes do not match their digest.
    """
    context = key_context(document.key)
    where = str(document.key)
    members = load_members(unseal(context, document.body, where)[0], where)
    members["t"] = token
    members["base"] = {"n": base.version, "chain": base.digest.decode("ascii")}
    members["snapshots"] = list(snapshots)
    return seal(context, orjson.dumps(members))[0]
