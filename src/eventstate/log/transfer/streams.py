"""One stream on its way: what its head says, and its entries checked against the chain one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import orjson

from eventstate.core.chain import genesis, key_context, seal, unseal, verified
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Key
from eventstate.core.exports import Loose, Part
from eventstate.core.format import REOPENED, Base, StoredEvent, load_members
from eventstate.core.privacy import is_encrypted
from eventstate.errors import CorruptionError, InvalidInputError

COPYING: Final = "copying"
"""Member of a head whose stream is copied in part: the version that it is to reach."""


class StreamHead(NamedTuple):
    """What a head says of its stream, without what belongs to its place: digest, token, list of snapshots."""

    id: str
    members: Mapping[str, Any]

    @property
    def version(self) -> int:
        return self.members["n"]

    @property
    def digest(self) -> bytes:
        return self.members["chain"].encode("ascii")

    @property
    def base(self) -> Base | None:
        base = self.members.get("base")
        return Base(base["n"], base["chain"].encode("ascii")) if base else None


class StreamPart(NamedTuple):
    """An entry or a snapshot as it is stored; ``n`` is the version in its key, None where that is not known."""

    name: Part
    n: int | None
    body: bytes


class LooseItem(NamedTuple):
    """A document that belongs to no stream."""

    kind: Loose
    id: str
    body: bytes


class StreamSource(Protocol):
    """Where streams come from: each with its parts, in the order of their ids, then what belongs to no stream."""

    @property
    def governor(self) -> str: ...

    async def next(self) -> StreamHead | None:
        """The next stream; what was not read of the one before is passed over."""
        ...

    async def parts(self) -> Sequence[StreamPart]:
        """Some more parts of this stream: entries in their order, each snapshot after its entry; none at the end."""
        ...

    async def loose(self) -> Sequence[LooseItem]:
        """Some more of what belongs to no stream; none at the end. Asked once there is no more stream."""
        ...

    async def check_unchanged(self, head: StreamHead) -> None:
        """Raise a TransactionConflictError where a stream that does not fit together was changed while it was read."""
        ...


class Walk:
    """Follows the parts of one stream, and makes of each what is stored under the governor they go to.

    Under the same governor that is the same bytes. Under another one the chain is another: its first digest depends on
    the governor.

    Attributes:
        version, digest: of the last entry so far, by the chain in the source.
        made_digest: of the same entry, by the chain in the target.
        last: the members of that entry, None at the beginning.
        incarnation: of the stream there.
    """

    def __init__(self, head: StreamHead, governor: str, target: str) -> None:
        self.head = head
        self._owner = governor
        self._target = target
        base = head.base
        self.version = base.version if base else 0
        self.digest = base.digest if base else genesis(governor, head.id)
        self.made_digest = base.digest if base else genesis(target, head.id)
        self.last: Mapping[str, Any] | None = None
        self.incarnation = 1

    @property
    def at(self) -> int:
        """When the last entry so far was recorded."""
        return self.last["at"] if self.last is not None else 0

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """Those of the last entry so far, as they are stored."""
        return self.last["e"] if self.last is not None else ()

    def entry(self, part: StreamPart) -> bytes:
        """The next entry as it is to be stored.

        Raises:
            CorruptionError: it is changed, or does not follow the one before.
            InvalidInputError: it is encrypted for its governor, and is to go to another one.
        """
        key = Key(ENTRY, self._owner, self.head.id, part.n or self.version + 1)
        digest = verified(self.digest, part.body, key)
        members = load_members(part.body, key)
        version = members["n"]
        if part.n is not None and version != part.n:
            raise CorruptionError(where=str(key), problem=f"it holds version {version}")
        if version - len(members["e"]) != self.version:
            raise CorruptionError(where=str(key), problem=f"version {self.version + 1} is missing before it")
        body, made = part.body, digest
        if self._target != self._owner:
            self._check_movable(members["e"])
            body, made = seal(self.made_digest, unseal(self.digest, part.body, key)[0])
        self.version, self.digest, self.made_digest, self.last = version, digest, made, members
        self.incarnation += sum(event["type"] == REOPENED for event in self.events)
        return body

    def snapshot(self, part: StreamPart) -> bytes:
        """A snapshot of this place as it is to be stored.

        Raises:
            CorruptionError: it is changed, or of another place.
        """
        key = Key(SNAPSHOT, self._owner, self.head.id, self.version)
        members = load_members(unseal(key_context(key), part.body, key)[0], key)
        if members["n"] != self.version or members["chain"].encode("ascii") != self.digest:
            raise CorruptionError(where=str(key), problem="it does not belong to this stream's chain")
        if self.last is None:
            self.incarnation = members.get("inc", 1)
        if self._target == self._owner:
            return part.body
        self._check_movable([members])
        members["chain"] = self.made_digest.decode("ascii")
        return seal(key_context(key._replace(owner=self._target)), orjson.dumps(members))[0]

    def _check_movable(self, values: Sequence[Mapping[str, Any]]) -> None:
        if any(is_encrypted(value.get(name)) for value in values for name in ("data", "state")):
            raise InvalidInputError(
                f"{self.head.id!r} holds encrypted values, which are bound to governor {self._owner!r} and could not be"
                f" read under {self._target!r}: keep the governor"
            )

    def finish(self) -> None:
        """Raise a CorruptionError unless this is where the head says that the stream ends."""
        head, last = self.head, self.last
        key = str(Key(HEAD, self._owner, head.id))
        if last is None or self.version != head.version:
            problem = f"it is at {head.version}, its entries reach {self.version}"
            raise CorruptionError(where=key, problem=problem)
        if self.digest != head.digest:
            raise CorruptionError(where=key, problem="its chain digest is not that of its entries")
        said = (head.members["last"], head.members["at"], head.members["c"], head.members["action"])
        if said != (last["n"], last["at"], last["c"], last["e"][-1]["type"]):
            raise CorruptionError(where=key, problem="what it says of the last event is not so")

    def last_event(self) -> StoredEvent:
        """The last event so far."""
        last = self.last
        assert last is not None
        event = last["e"][-1]
        metadata = {**last.get("m", {}), **event.get("m", {})}
        return StoredEvent(self.version, event["type"], event, event.get("v", 1), last["at"], metadata, last["c"])
