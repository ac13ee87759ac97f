"""The events of an orchestration, as its orchestrator reports them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

import orjson

from eventstate.core.instants import micros_of
from eventstate.errors import InvalidInputError

ORCH_STARTED: Final = "orch.started"
ORCH_COMPLETED: Final = "orch.completed"
ORCH_FAILED: Final = "orch.failed"
UNIT_QUEUED: Final = "unit.queued"
UNIT_STARTED: Final = "unit.started"
UNIT_COMPLETED: Final = "unit.completed"
UNIT_FAILED: Final = "unit.failed"
UNIT_BLOCKED: Final = "unit.blocked"
TASK_STARTED: Final = "task.started"

_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)
"""What some writers put in the place of no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestrationEvent:
    """One report of an orchestrator.

    An empty ``unit``, ``error`` or ``id`` stands for none: some writers leave nothing out.

    Attributes:
        type: such as ``unit.started``; the view knows nine types, and counts the others as unhandled.
        time: when it happened, with a time zone.
        unit: which unit it is about.
        task: the number of a task in the unit.
        pr: the number of a pull request.
        payload: JSON data; that of ``orch.started`` has ``unit_count``, ``parallelism`` and ``graph``.
        error: why a unit or the orchestration failed.
        id: names this event for good, so that one that is reported again has no second effect.

    Raises:
        InvalidInputError: a member is of another type, or the time has no time zone.
    """

    type: str
    time: datetime | None = None
    unit: str | None = None
    task: int | None = None
    pr: int | None = None
    payload: Any = None
    error: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        _check("type", self.type, str, needed=True)
        for name in ("unit", "error", "id"):
            _check(name, getattr(self, name), str)
            if getattr(self, name) == "":
                object.__setattr__(self, name, None)
        for name in ("task", "pr"):
            _check(name, getattr(self, name), int)
        if self.time is not None:
            micros_of(self.time, "time")

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any]) -> OrchestrationEvent:
        """The event of a JSON object, as text or read already; members it does not know are passed over.

        Raises:
            InvalidInputError: it is no JSON object, or no event.
        """
        members: Any = text
        if isinstance(text, str | bytes):
            try:
                members = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise InvalidInputError(f"an event must be a JSON object: {error}") from None
        if not isinstance(members, Mapping):
            raise InvalidInputError(f"an event must be a JSON object, not {type(members).__name__}")
        given = cast("Mapping[str, Any]", members)
        return cls(
            type=given.get("type", ""),
            time=parse_time(given.get("time")),
            unit=given.get("unit"),
            task=given.get("task"),
            pr=given.get("pr"),
            payload=given.get("payload"),
            error=given.get("error"),
            id=given.get("id"),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the members that are set."""
        plain: dict[str, Any] = {"type": self.type}
        if self.time is not None:
            plain["time"] = format_time(self.time)
        for name in ("unit", "task", "pr", "payload", "error", "id"):
            value = getattr(self, name)
            if value is not None:
                plain[name] = value
        return plain


def check_event(value: object) -> OrchestrationEvent:
    """An event.

    Raises:
        InvalidInputError: something else.
    """
    if not isinstance(value, OrchestrationEvent):
        raise InvalidInputError(f"{type(value).__name__} is no OrchestrationEvent: make one, or read it by from_json")
    return value


def _check(name: str, value: object, kind: type, *, needed: bool = False) -> None:
    if value is None and not needed:
        return
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidInputError(f"{name}={value!r} of an event: it must be {'text' if kind is str else 'an integer'}")
    if needed and not value:
        raise InvalidInputError(f"an event without a {name}")


def parse_time(text: object) -> datetime | None:
    """The time of RFC 3339 text; None for none.

    Raises:
        InvalidInputError: it is something else.
    """
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise InvalidInputError(f"time={text!r} of an event: it must be text such as 2026-01-15T10:00:00Z")
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(f"time={text!r} of an event: {error}") from None
    micros_of(time, "time")
    return None if time == _NEVER else time


def format_time(time: datetime) -> str:
    """RFC 3339 text in UTC, with as many digits of the second as it needs."""
    utc = time.astimezone(UTC).replace(tzinfo=None)
    text = utc.isoformat(timespec="microseconds").rstrip("0").rstrip(".")
    return f"{text}Z"
