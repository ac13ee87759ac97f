"""What subscriptions deliver: one event at a time, decoded when it is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from eventstate.core.causality import VectorClock, stored_clock
from eventstate.core.format import NO_STATE, StoredEvent
from eventstate.core.ids import machine_of
from eventstate.core.instants import utc_of
from eventstate.core.metadata import ChangeMetadata, metadata_from_plain
from eventstate.core.privacy import is_encrypted
from eventstate.errors import EventStateError
from eventstate.log.following import Followed, Place, Selection
from eventstate.machines.protecting import Declared
from eventstate.transactions.locks import DistributedLock

_NO_BODY: Final[Mapping[str, Any]] = {}


class Delivery:
    """One event, handed to a subscriber.

    An event that can't be read (damaged, of a newer schema, or without an upcaster that works) is delivered like any
    other: ``event`` raises then, and ``problem`` says why.

    Attributes:
        version: of the event in its stream.
        is_last: whether it is the last that is wanted of its commit in this stream.
        attempt: 1, and 1 more each time its handler is called again for it.
        lock: of a shared subscription, the lock under which it is handled; pass it as ``fence=``.
    """

    __slots__ = ("_followed", "_machines", "attempt", "is_last", "lock", "version")

    def __init__(self, followed: Followed, version: int, machines: Declared, is_last: bool) -> None:
        self._followed = followed
        self.version = version
        self._machines = machines
        self.is_last = is_last
        self.attempt = 1
        self.lock: DistributedLock | None = None

    def __repr__(self) -> str:
        return f"<Delivery {self.governor}/{self.state_id} version {self.version}: {self.action or 'unreadable'}>"

    def _body(self) -> Mapping[str, Any]:
        """It as it is stored, decoded by now; empty where its bytes can't be read."""
        return self._followed.body(self.version) or _NO_BODY

    @property
    def governor(self) -> str:
        return self._followed.stream[0]

    @property
    def state_id(self) -> str:
        """The full id, such as ``order-42``."""
        return self._followed.stream[1]

    @property
    def position(self) -> int | None:
        """The place of its commit in store order; None where there is no such order, or one stream is followed."""
        return self._followed.position

    @property
    def action(self) -> str:
        """The event's type; empty where its bytes can't be read."""
        return self._body().get("type", "")

    @property
    def event(self) -> Any:
        """The typed event; its plain data where no machine declares it; None where it has none; `Erased` if it was.

        Raises:
            KeyLostError: its subject's key is missing.
            CorruptionError, FormatError: what is stored is damaged, or of a newer format.
            UnknownEventError, SchemaNewerError, UpcastError: see their texts.
        """
        if self._followed.problem is not None:
            raise self._followed.problem
        body = self._body()
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
        return type(error).__name__ if is_encrypted(self._body().get("data")) else f"{type(error).__name__}: {error}"

    @property
    def data(self) -> Any:
        """What the event says, as plain data as it is stored; of a recorded state the state, or the change to it."""
        body = self._followed.body(self.version) or _NO_BODY
        if "data" in body:
            return body["data"]
        return body["state"] if "state" in body else body.get("delta")

    @property
    def stored(self) -> StoredEvent:
        """The event as it is stored."""
        entry = self._followed.entry
        if entry is None:
            assert self._followed.problem is not None
            raise self._followed.problem
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
        return self._followed


class CaughtUp(NamedTuple):
    """Everything that was committed before the subscription began has been delivered; what follows is live."""

    place: Place


def deliveries_of(followed: Followed, selection: Selection, machines: Declared) -> list[Delivery]:
    """The events of one entry that are wanted; one for an entry that can't be read."""
    entry = None if followed.is_single else followed.entry
    if entry is None:
        return [Delivery(followed, followed.version, machines, True)]
    wanted = [version for version, body in enumerate(entry.events, entry.first) if selection.takes_event(body)]
    # Of a damaged entry that holds nothing wanted the damage is told all the same.
    last = wanted[-1] if wanted else entry.version
    return [Delivery(followed, version, machines, version == last) for version in wanted or [last]]
