"""States and events as plain JSON data: the shapes of ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from eventstate.core.metadata import ChangeMetadata
from eventstate.errors import ConfigurationError
from eventstate.machines.machine import Machine
from eventstate.machines.past import Transition
from eventstate.machines.shapes import Shape
from eventstate.machines.states import StateSnapshot

_shapes: dict[type[Any], Shape] = {}


def plain(value: Any) -> Any:
    """A state or an event's data as plain JSON data."""
    type_ = cast("type[Any]", type(value))
    shape = _shapes.get(type_)
    if shape is None:
        shape = _shapes[type_] = Shape(type_, "$")
    return orjson.loads(shape.encoded(value))


def instant(value: datetime | None) -> str | None:
    """ISO 8601 in UTC, ending in Z."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_instant(text: str) -> datetime:
    """An aware datetime from ISO 8601; UTC where the text says no offset.

    Raises:
        ValueError: not ISO 8601, or beyond the years 1 to 9999.
    """
    try:
        value = datetime.fromisoformat(text)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no ISO 8601 time, such as 2024-05-01T12:30:00Z") from None


def metadata_record(metadata: ChangeMetadata) -> dict[str, Any]:
    """What the metadata says, without ``occurred_at``, which has a place of its own."""
    fields = {
        "changed_by": metadata.changed_by,
        "reason": metadata.reason,
        "context": dict(metadata.context) or None,
        "correlation_id": metadata.correlation_id,
        "causation_id": metadata.causation_id,
        "parent_version": metadata.parent_version,
    }
    return {name: value for name, value in fields.items() if value is not None}


def state_record(state: StateSnapshot[Any]) -> dict[str, Any]:
    return {
        "state_id": state.id,
        "version": state.version,
        "data": plain(state.data),
        "action": state.action,
        "timestamp": instant(state.timestamp),
        "occurred_at": instant(state.metadata.occurred_at),
        "metadata": metadata_record(state.metadata),
    }


def event_record(event: Transition) -> dict[str, Any]:
    return {
        "state_id": event.state_id,
        "version": event.version,
        "action": event.action,
        "data": plain(event.data),
        "from_state": plain(event.from_state),
        "to_state": plain(event.to_state),
        "timestamp": instant(event.timestamp),
        "occurred_at": instant(event.occurred_at),
        "metadata": metadata_record(event.metadata),
    }


def legal_actions(machine: Machine[Any, Any], state: Any) -> list[str] | None:
    """The actions legal in a state; None where the machine declares no transitions."""
    try:
        return list(machine.actions(state))
    except ConfigurationError:
        return None


def shown_time(record: Mapping[str, Any]) -> str:
    """When something happened, or else was recorded, to the second."""
    return to_the_second(record["occurred_at"] or record["timestamp"])


def to_the_second(time: str | None) -> str:
    """A time in ISO 8601, UTC, for people; empty where there is none."""
    return "" if time is None else f"{time[:19].replace('T', ' ')}Z"
