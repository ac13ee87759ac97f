"""The bodies of entries, heads and snapshots: storage format 1, described in docs/reference/storage-format.md.

Values that a user handed in travel through here as JSON text that was made once (`orjson.Fragment`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.chain import genesis, key_context, seal, unseal
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Document, Key, Revision
from eventstate.errors import CorruptionError, FormatError

DELETED: Final = "$deleted"
REOPENED: Final = "$reopened"
RESERVED: Final = "$"
"""Event types beginning with it are the library's own."""

NO_STATE: Final = object()
"""Stands for a state that a head does not hold (JSON null is a state)."""


class NewEvent(NamedTuple):
    """An event to append. At most one of ``data``, ``state`` and ``delta`` besides a state; all JSON text."""

    type: str
    data: bytes | None = None
    state: bytes | None = None
    delta: bytes | None = None
    schema: int = 1
    metadata: Mapping[str, Any] | None = None


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
    """The events of one commit in one stream."""

    version: int
    first: int
    token: str
    at: int
    clock: Mapping[str, int]
    digest: bytes
    events: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any]

    def each(self) -> list[StoredEvent]:
        """Its events, with their versions and metadata."""
        own = self.metadata
        return [
            StoredEvent(
                self.first + index,
                event["type"],
                event,
                event.get("v", 1),
                self.at,
                {**own, **event["m"]} if "m" in event else own,
                self.clock,
            )
            for index, event in enumerate(self.events)
        ]


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
    """A snapshot read back: the state at an entry boundary, and the chain's digest there."""

    version: int
    digest: bytes
    at: int
    image: Image


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
    members["e"] = [_event_members(event) for event in events]
    return seal(tip.digest, orjson.dumps(members))


def _event_members(event: NewEvent) -> dict[str, Any]:
    members: dict[str, Any] = {"type": event.type}
    if event.schema != 1:
        members["v"] = event.schema
    if event.data is not None:
        members["data"] = orjson.Fragment(event.data)
    if event.state is not None:
        members["state"] = orjson.Fragment(event.state)
    if event.delta is not None:
        members["delta"] = orjson.Fragment(event.delta)
    if event.metadata:
        members["m"] = event.metadata
    return members


def decode_entry(document: Document, previous: bytes) -> Entry:
    """An entry read from the store, checked against the digest of the entry before it.

    Raises:
        CorruptionError: the bytes are not what was written at this place of this stream.
    """
    where = str(document.key)
    rest, digest = unseal(previous, document.body, where)
    members = load_members(rest, where)
    events = members["e"]
    version = members["n"]
    if version != document.key.n:
        raise CorruptionError(where=where, problem=f"it holds version {version}")
    return Entry(
        version,
        version - len(events) + 1,
        members["t"],
        members["at"],
        members["c"],
        digest,
        events,
        members.get("m", _NOTHING),
    )


_NOTHING: Final[Mapping[str, Any]] = {}


FORMAT: Final = 1
"""Of bodies. One of a later format says so in a member ``f``; format 1 has none."""


def load_members(rest: bytes, where: str) -> Any:
    """Decode the members of a body whose digest was right.

    Raises:
        CorruptionError: not JSON.
        FormatError: a newer version of this library wrote it.
    """
    try:
        members = orjson.loads(rest)
    except ValueError as error:
        raise CorruptionError(where=where, problem=f"not JSON ({error})") from None
    if "f" in members:
        raise FormatError(store=where, found=members["f"], supported=FORMAT)
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
    members: dict[str, Any] = {
        "t": token,
        "n": tip.version,
        "last": tip.last,
        "chain": tip.digest.decode("ascii"),
        "at": tip.at,
        "c": tip.clock,
        "action": action,
    }
    if metadata:
        members["m"] = metadata
    if tip.incarnation != 1:
        members["inc"] = tip.incarnation
    if tip.deleted:
        members["deleted"] = True
    if tip.base is not None:
        members["base"] = {"n": tip.base.version, "chain": tip.base.digest.decode("ascii")}
    if tip.snapshots:
        members["snapshots"] = tip.snapshots
    if image is not None:
        members.update(_image_members(image))
    return seal(key_context(tip.key), orjson.dumps(members))[0]


def _image_members(image: Image) -> dict[str, Any]:
    members: dict[str, Any] = {"fold": image.fold, "v": image.schema}
    if image.label is not None:
        members["label"] = image.label
    if image.state is not None:
        members["state"] = orjson.Fragment(image.state)
    return members


def decode_head(document: Document) -> tuple[Head, Any]:
    """A head read from the store, and its state decoded (`NO_STATE` where it holds none).

    The state comes decoded, not as text: ``image.state`` is None.

    Raises:
        CorruptionError: the bytes do not match their digest.
    """
    key = document.key
    where = str(key)
    rest, _ = unseal(key_context(key), document.body, where)
    members = load_members(rest, where)
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


def encode_snapshot(tip: Tip, image: Image, *, token: str) -> bytes:
    """The sealed body of a snapshot of the state at ``tip``."""
    members: dict[str, Any] = {
        "t": token,
        "n": tip.version,
        "chain": tip.digest.decode("ascii"),
        "at": tip.at,
        **_image_members(image),
    }
    return seal(key_context(snapshot_key(tip.owner, tip.id, tip.version)), orjson.dumps(members))[0]


def decode_snapshot(document: Document) -> tuple[Snapshot, Any]:
    """A snapshot read from the store, and its state decoded.

    Raises:
        CorruptionError: the bytes do not match their digest, or it is not of this place.
    """
    where = str(document.key)
    rest, _ = unseal(key_context(document.key), document.body, where)
    members = load_members(rest, where)
    if members["n"] != document.key.n or "state" not in members:
        raise CorruptionError(where=where, problem="it is not the snapshot of this version")
    image = Image(None, members["fold"], members["v"], members.get("label"))
    return Snapshot(members["n"], members["chain"].encode("ascii"), members["at"], image), members["state"]


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
