"""What subscriptions deliver: one event at a time, decoded when it is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from eventstate.core.causality import VectorClock, stored_clock
from eventstate.core.format import NO_STATE, StoredEvent
from eventstate.core.ids import machine_of
from eventstate.core.instants import utc_of
from eventstate.core.metadata import ChangeMetadata, metadata_from_plain
from eventstate.core.privacy import is_encrypted
from eventstate.errors import EventStateError
from eventstate.log.following import Followed, Place, Selection, Stream
from eventstate.log.following.followed import FollowedRows, read_members
from eventstate.machines.declared import Declared
from eventstate.transactions.locks import DistributedLock

_NO_BODY: Final[Mapping[str, Any]] = {}


class Delivery:
    """One event, handed to a subscriber.

    An event that can't be read (damaged, of a newer schema, or without an upcaster that works) is delivered like any
    other: ``event`` raises then, and ``problem`` says why.

    Attributes:
        version: of the event in its stream.
        position: the place of its commit in store order; None where there is no such order, or one stream is followed.
        is_last: whether it is the last that is wanted of its commit in this stream.
        attempt: 1, and 1 more each time its handler is called again for it.
        lock: of a shared subscription, the lock under which it is handled; pass it as ``fence=``.
    """

    __slots__ = (
        "_body", "_entry", "_machines", "_members", "attempt", "is_last", "lock", "position", "stream", "version",
    )  # fmt: skip

    def __init__(
        self,
        position: int | None,
        stream: Stream,
        version: int,
        entry: Followed | bytes,
        machines: Declared,
        is_last: bool = True,
    ) -> None:
        self.position = position
        self.stream = stream
        self.version = version
        self._entry = entry
        """The commit it is a part of; as bytes where it is all there is in it, until somebody asks for more."""
        self._machines = machines
        self._members: Any = None
        self._body: Mapping[str, Any] | None = None
        self.is_last = is_last
        self.attempt = 1
        self.lock: DistributedLock | None = None

    def __repr__(self) -> str:
        return f"<Delivery {self.governor}/{self.state_id} version {self.version}: {self.action or 'unreadable'}>"

    def _opened(self) -> Mapping[str, Any]:
        """It as it is stored, decoded by now; empty where its bytes can't be read."""
        entry = self._entry
        if isinstance(entry, Followed):
            self._body = body = entry.body(self.version) or _NO_BODY
            return body
        members = read_members(entry, self.version, 1)
        if members is None:
            self._body = body = self.followed.body(self.version) or _NO_BODY
        else:
            self._members = members
            self._body = body = members["e"][0]
        return body

    @property
    def governor(self) -> str:
        return self.stream[0]

    @property
    def state_id(self) -> str:
        """The full id, such as ``order-42``."""
        return self.stream[1]

    @property
    def action(self) -> str:
        """The event's type; empty where its bytes can't be read."""
        return (self._body or self._opened()).get("type", "")

    @property
    def event(self) -> Any:
        """The typed event; its plain data where no machine declares it; None where it has none; `Erased` if it was.

        Raises:
            KeyLostError: its subject's key is missing.
            CorruptionError, FormatError: what is stored is damaged, or of a newer format.
            UnknownEventError, SchemaNewerError, UpcastError: see their texts.
        """
        body = self._body or self._opened()
        entry = self._entry
        if isinstance(entry, Followed) and entry.problem is not None:
            raise entry.problem
        if "data" not in body:
            return None
        state_id = self.state_id
        machine = self._machines.get(machine_of(state_id))
        if machine is None:
            return body["data"]
        if not machine.has_subjects:
            event = machine.present_event(body)
            if event is not NO_STATE:
                return event
        where = f"event {self.governor}/{state_id} version {self.version}"
        return self._machines.event_of(state_id, self.stored, where)

    @property
    def problem(self) -> EventStateError | None:
        """Why the event can't be read; None if it can."""
        try:
            _ = self.event
        except EventStateError as error:
            return error
        return None

    def told(self, error: Exception) -> str:
        """What is stored of an error that its handler raised: not its text where the event is encrypted."""
        body = self._body or self._opened()
        return type(error).__name__ if is_encrypted(body.get("data")) else f"{type(error).__name__}: {error}"

    @property
    def data(self) -> Any:
        """What the event says, as plain data as it is stored; of a recorded state the state, or the change to it."""
        body = self._body or self._opened()
        if "data" in body:
            return body["data"]
        return body["state"] if "state" in body else body.get("delta")

    @property
    def stored(self) -> StoredEvent:
        """The event as it is stored."""
        followed = self.followed
        entry = followed.entry
        if entry is None:
            assert followed.problem is not None
            raise followed.problem
        return entry.event(self.version)

    @property
    def metadata(self) -> ChangeMetadata:
        """Who, why and in what context."""
        return metadata_from_plain(self.stored.metadata, self.version - 1)

    @property
    def timestamp(self) -> datetime:
        """When it was recorded."""
        return utc_of(self.stored.at)

    @property
    def causality(self) -> VectorClock:
        """The vector clock after it."""
        return stored_clock(self.stored.clock)

    @property
    def followed(self) -> Followed:
        """The commit it is a part of."""
        entry = self._entry
        if not isinstance(entry, Followed):
            entry = Followed(self.position, self.stream, self.version, entry, True, self._members)
            self._entry = entry
        return entry


class CaughtUp(NamedTuple):
    """Everything that was committed before the subscription began has been delivered; what follows is live."""

    place: Place


Waiting: TypeAlias = "Delivery | Followed"
"""What is in memory until it is handed over: an event, or an entry that is yet to be opened."""


def waiting(entries: Sequence[Followed], machines: Declared) -> Sequence[Waiting]:
    """A page of entries as it waits: of those that hold one event, as most do, the event itself."""
    if not isinstance(entries, FollowedRows):
        return entries
    streams = entries.streams
    return [
        item if isinstance(item, Followed) else Delivery(item[0], streams[item[1]], item[2], item[4], machines)
        for item in entries.found
    ]


def first_of(item: Waiting) -> int:
    """The version at which the entry begins that waits, or of which events do."""
    followed = item.followed if isinstance(item, Delivery) else item
    return followed.entry.first if followed.entry else followed.version


def deliveries_of(followed: Followed, selection: Selection, machines: Declared) -> list[Delivery]:
    """The events of one entry that are wanted; one for an entry that can't be read."""
    position, stream = followed.position, followed.stream
    entry = None if followed.is_single else followed.entry
    if entry is None:
        return [Delivery(position, stream, followed.version, followed, machines)]
    wanted = [version for version, body in enumerate(entry.events, entry.first) if selection.takes_event(body)]
    # Of a damaged entry that holds nothing wanted the damage is told all the same.
    last = wanted[-1] if wanted else entry.version
    return [Delivery(position, stream, version, followed, machines, version == last) for version in wanted or [last]]
