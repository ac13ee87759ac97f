"""What is followed: which streams, and which of their events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from eventstate.core.documents import Key
from eventstate.core.format import Entry
from eventstate.core.ids import machine_of


class Selection(NamedTuple):
    """The streams and events that somebody wants to see. Without any limit: everything in the store.

    Attributes:
        governor: only its streams; None for those of all governors.
        state_id: only this stream; needs a governor.
        machines: only streams of these machines, by name; None for all streams.
        actions: only events of these types; None for all.
    """

    governor: str | None = None
    state_id: str | None = None
    machines: frozenset[str] | None = None
    actions: frozenset[str] | None = None

    def takes_stream(self, key: Key) -> bool:
        """Whether the stream of a head or an entry is wanted."""
        _, owner, id, _ = key
        if self.governor is not None and owner != self.governor:
            return False
        if self.state_id is not None and id != self.state_id:
            return False
        return self.machines is None or machine_of(id) in self.machines

    def takes_event(self, body: Mapping[str, Any]) -> bool:
        """Whether an event of a wanted stream is wanted."""
        return self.actions is None or body["type"] in self.actions

    def takes_entry(self, entry: Entry) -> bool:
        """Whether any event of an entry of a wanted stream is wanted."""
        return self.actions is None or any(body["type"] in self.actions for body in entry.events)


EVERYTHING: Final = Selection()
