"""Events as callers write them where no class of their own stands for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eventstate.core.format import NO_STATE
from eventstate.core.metadata import ChangeMetadata


@dataclass(frozen=True, slots=True)
class Event:
    """An event by name.

    Attributes:
        type: its stored name; what the history calls the action.
        data: plain JSON data, or a typed event to which metadata of its own is to be given.
        state: the whole state after it, for streams without a machine.
        metadata: overrides, for this event, what the append says for all.
    """

    type: str
    data: Any = None
    state: Any = NO_STATE
    metadata: ChangeMetadata | None = None


def event_type_of(type_: type) -> str:
    """The stored name of an event class: its ``event_type`` or its class name."""
    name = getattr(type_, "event_type", None)
    return name if isinstance(name, str) else type_.__name__
