"""Pins: what must stay in the live store, whatever a policy says.

A register is rewritten by every commit that makes a pin, and each commit that prunes checks it: so a prune that did
not see a pin is refused, and a pin that came too late finds the base where it is.
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.documents import PIN, Delete, Document, Key, Operation, Precondition, Put, Require
from eventstate.core.ids import check_id, machine_of
from eventstate.core.instants import utc_of
from eventstate.errors import CorruptionError

HOLD: Final = "hold"
"""A pin that a person has made: a legal hold, a bookmark."""

REGISTER: Final = "$register"
"""Ids of this kind that begin with ``$`` are the library's own, and no pins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Something that must stay in the live store.

    Attributes:
        name: unique within its kind.
        kind: ``hold`` for those that people make; others are made by the library, such as ``fork``.
        state_id: of this stream; None where a machine or the whole governor is held.
        machine: all streams of this machine; None for one stream or the whole governor.
        from_version: this version and all later ones stay; 1 for everything that is there.
        reason, by: for people.
        at: when it was made.
    """

    name: str
    kind: str
    state_id: str | None = None
    machine: str | None = None
    from_version: int = 1
    reason: str | None = None
    by: str | None = None
    at: datetime


class Limit(NamedTuple):
    """How far a stream may be pruned, and the pin that says so."""

    version: int
    pin: Pin


def register_key(owner: str) -> Key:
    """The document that each new pin rewrites."""
    return Key(PIN, owner, REGISTER)


def pin_key(owner: str, kind: str, name: str) -> Key:
    """Where a pin lives.

    Raises:
        InvalidIdError: the name can't be used.
    """
    return Key(PIN, owner, check_id("pin", f"{kind}:{check_id('name of a pin', name)}"))


def pin_operations(owner: str, name: str, members: Mapping[str, Any], token: str) -> tuple[Operation, ...]:
    """Make a pin, as part of the batch of ``token``; refused if there is one of this name.

    ``name`` is the document's id, such as ``fork:order-7``. ``members``: ``kind``, ``stream`` or ``machine``,
    ``from``, ``why``, ``by``, ``at``, and others that are kept.
    """
    body = orjson.dumps({"t": token, **members})
    return (Put(Key(PIN, owner, check_id("pin", name)), body, Require.ABSENT), register_operation(owner, token))


def register_operation(owner: str, token: str) -> Operation:
    """Have each prune that runs look anew at what holds it back, before its next commit."""
    return Put(register_key(owner), orjson.dumps({"t": token}), Require.ANY)


def unpin_operations(owner: str, name: str, when: Precondition = Require.ANY) -> tuple[Operation, ...]:
    """Take a pin away. The register stays as it is: a prune that still saw the pin did nothing wrong.

    ``when``: the revision of the pin that is meant, where another may come to have its name.
    """
    return (Delete(Key(PIN, owner, name), when),)


def decode_pin(document: Document) -> Pin | None:
    """A pin read back; None for the library's own documents of this kind.

    Raises:
        CorruptionError: it is no pin.
    """
    id = document.key.id
    if id.startswith("$"):
        return None
    try:
        members = orjson.loads(document.body)
        kind = str(members["kind"])
        return Pin(
            name=id.removeprefix(f"{kind}:"),
            kind=kind,
            state_id=members.get("stream"),
            machine=members.get("machine"),
            from_version=max(int(members.get("from", 1)), 1),
            reason=members.get("why"),
            by=members.get("by"),
            at=utc_of(members["at"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(document.key), problem=f"no pin ({error})") from None


class Pins:
    """All pins of a governor, by what they hold."""

    def __init__(self, pins: Iterable[Pin]) -> None:
        self._streams: dict[str, Pin] = {}
        self._machines: dict[str, Pin] = {}
        self._all: Pin | None = None
        for pin in pins:
            if pin.state_id is not None:
                self._streams[pin.state_id] = _stricter(self._streams.get(pin.state_id), pin)
            elif pin.machine is not None:
                self._machines[pin.machine] = _stricter(self._machines.get(pin.machine), pin)
            else:
                self._all = _stricter(self._all, pin)

    def limit(self, id: str) -> Limit | None:
        """The last version of a stream that may go, and the pin that keeps the next; None where none does."""
        found: Pin | None = None
        for pin in (self._streams.get(id), self._machines.get(machine_of(id)), self._all):
            if pin is not None:
                found = _stricter(found, pin)
        return None if found is None else Limit(found.from_version - 1, found)


def _stricter(one: Pin | None, other: Pin) -> Pin:
    return other if one is None or other.from_version < one.from_version else one
