"""Seals: what the streams of a governor were at one time, in a form in which every later change shows.

A seal is one document, chained to the seal before it. It holds the root: a digest over the list of all streams,
each with its version, the digest of its chain there and its base. The list lies beside it, in parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

import orjson

from eventstate.core.chain import digest, key_context, seal
from eventstate.core.documents import SEAL, Document, Key
from eventstate.core.format import Tip, sealed_members
from eventstate.core.instants import utc_of
from eventstate.errors import CorruptionError

ROLL: Final = "seals"
"""The id under which the seals of a governor stand, numbered from 1."""
LISTS: Final = "list:"
"""The beginning of the ids of lists."""
PART_BYTES: Final = 400_000


class SealedTip(NamedTuple):
    """A stream as a seal saw it: everything up to ``version`` led to the chain's ``digest``."""

    id: str
    version: int
    digest: bytes
    base: int

    def line(self) -> bytes:
        """Its form in lists and files."""
        return orjson.dumps([self.id, self.version, self.digest.decode("ascii"), self.base])


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the streams of a governor were when it was taken.

    Attributes:
        number: counts the seals of the governor, from 1.
        started, at: microseconds; each stream was as sealed at some moment between the two.
        streams, events: how many it covers.
        root: digest over the list of all streams.
        previous: digest of the seal before it, empty for the first.
        anew: it was not held against the seal before it.
        listed: id of the list in the store.
        token: of the commit that wrote it.
    """

    governor: str
    number: int
    started: int
    at: int
    streams: int
    events: int
    root: str
    previous: str
    anew: bool
    listed: str
    token: str

    @property
    def key(self) -> Key:
        return seal_key(self.governor, self.number)

    @property
    def taken_at(self) -> datetime:
        """When it was taken, UTC."""
        return utc_of(self.at)

    @property
    def digest(self) -> str:
        """Its own digest, which the next seal holds as ``previous``."""
        return encode_seal(self)[1].decode("ascii")


def seal_key(governor: str, number: int) -> Key:
    return Key(SEAL, governor, ROLL, number)


def part_key(governor: str, listed: str, number: int) -> Key:
    return Key(SEAL, governor, listed, number)


def sealed_tip(tip: Tip) -> SealedTip:
    """What a seal says of a stream."""
    return SealedTip(tip.id, tip.version, tip.digest, tip.base.version if tip.base else 0)


class Root:
    """Computes the root of a list, one stream after the other."""

    def __init__(self, governor: str) -> None:
        self._digest = digest(b"eventstate seal 1\0", governor.encode())

    def add(self, tips: Iterable[SealedTip]) -> None:
        own = self._digest
        for tip in tips:
            own = digest(own, tip.line())
        self._digest = own

    @property
    def digest(self) -> str:
        return self._digest.decode("ascii")


def encode_seal(sealed: Seal) -> tuple[bytes, bytes]:
    """The body of a seal, and its digest."""
    return seal(key_context(sealed.key), orjson.dumps(seal_members(sealed)))


def seal_members(sealed: Seal) -> dict[str, Any]:
    members: dict[str, Any] = {
        "t": sealed.token,
        "n": sealed.number,
        "started": sealed.started,
        "at": sealed.at,
        "streams": sealed.streams,
        "events": sealed.events,
        "root": sealed.root,
        "list": sealed.listed,
    }
    if sealed.previous:
        members["previous"] = sealed.previous
    if sealed.anew:
        members["anew"] = True
    return members


def seal_of_members(governor: str, members: Any) -> Seal:
    """A seal of its members. Raises KeyError or TypeError where they are of another form."""
    return Seal(
        governor=governor,
        number=_of(int, members["n"]),
        started=_of(int, members["started"]),
        at=_of(int, members["at"]),
        streams=_of(int, members["streams"]),
        events=_of(int, members["events"]),
        root=_of(str, members["root"]),
        previous=_of(str, members.get("previous", "")),
        anew=_of(bool, members.get("anew", False)),
        listed=_of(str, members["list"]),
        token=_of(str, members["t"]),
    )


def _of(type_: type[Any], value: object) -> Any:
    if type(value) is not type_:
        raise TypeError(f"{value!r} where {type_.__name__} belongs")
    return value


def decode_seal(document: Document, previous: Seal | None) -> Seal:
    """The seal that follows ``previous``.

    Raises:
        CorruptionError: it is changed, or it does not follow.
    """
    where = str(document.key)
    members = sealed_members(document)
    try:
        found = seal_of_members(document.key.owner, members)
    except (KeyError, TypeError) as error:
        raise CorruptionError(where=where, problem=f"it is no seal ({error})") from None
    number, before = (previous.number, previous.digest) if previous is not None else (0, "")
    if document.key.n != number + 1 or found.number != number + 1:
        missing = str(seal_key(document.key.owner, number + 1))
        raise CorruptionError(where=missing, problem="the seal is missing, there are later ones")
    if found.previous != before:
        raise CorruptionError(where=where, problem="it was not made after the seal before it")
    return found


def encode_part(key: Key, lines: Sequence[bytes], token: str) -> bytes:
    """One part of a list."""
    members = {"t": token, "streams": [orjson.Fragment(line) for line in lines]}
    return seal(key_context(key), orjson.dumps(members))[0]


def decode_part(document: Document) -> list[SealedTip]:
    """The streams of one part.

    Raises:
        CorruptionError: it is not as it was written.
    """
    members = sealed_members(document)
    try:
        return [_tip_of(row) for row in members["streams"]]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptionError(where=str(document.key), problem=f"it is no list of streams ({error})") from None


def decode_line(line: bytes) -> SealedTip:
    """A stream of a line. Raises ValueError or TypeError where it is none."""
    return _tip_of(orjson.loads(line))


def _tip_of(row: object) -> SealedTip:
    if not isinstance(row, list):
        raise TypeError(f"{row!r} is no stream")
    id, version, own, base = cast("list[object]", row)
    return SealedTip(_of(str, id), _of(int, version), str(_of(str, own)).encode("ascii"), _of(int, base))


def problem_with(sealed: SealedTip, number: int, tip: Tip) -> str | None:
    """What the tip of a stream alone says against a seal of it; None if nothing."""
    seen = f"seal {number} saw version {sealed.version}"
    if tip.version < sealed.version:
        return f"{seen}, it is at {tip.version}: its end was cut off"
    if tip.version == sealed.version and tip.digest != sealed.digest:
        return f"{seen} with another digest: its history was rewritten"
    if tip.base is not None and tip.base.version > sealed.version:
        return pruned_beyond(sealed, number, tip.base.version)
    if tip.base is not None and tip.base.version == sealed.version and tip.base.digest != sealed.digest:
        return f"{seen} with another digest: its history was rewritten"
    return None


def pruned_beyond(sealed: SealedTip, number: int, base: int) -> str:
    return (
        f"seal {number} saw version {sealed.version}, and everything up to {base} is pruned: nothing is left to prove"
        " it by; prune only what is sealed, and hold the archive against a full export of the seal"
    )
