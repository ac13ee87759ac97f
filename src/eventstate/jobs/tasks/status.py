"""The status of a task: numbers, their names, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, cast

import orjson

from eventstate.core.codec import encode
from eventstate.core.ids import MAX_ID_BYTES, check_id, encoded_length
from eventstate.core.instants import EPOCH
from eventstate.errors import DocumentTooLargeError, InvalidIdError, InvalidInputError
from eventstate.jobs.tasks.policies import TaskOutcome, TaskPhase, TaskResult

NOT_STARTED: Final = 0
STARTED: Final = 1
FINISHED: Final = 2**31 - 1
FAILED: Final = -1
LOWEST: Final = -(2**31)
MAIN: Final = "main"
"""The tag of those who need no tags."""

MAX_TAG_BYTES: Final = MAX_ID_BYTES - 9
"""Leaves room for ``:``, which takes three, and the index of a task."""
_SHORT: Final = MAX_TAG_BYTES // 4
"""So many characters always fit."""

MAX_STATUS_BYTES: Final = 65_536
"""Of a stored status: so that its head always holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """The status of one task under one tag.

    Attributes:
        job: id of the job.
        task: index of the task.
        status: 0 not started, 2147483647 finished, below 0 an error; all others are the caller's.
        payload: JSON data, the caller's own copy.
        event_id: the caller's name for the report.
        version: grows with every report of this task and tag, beyond a deletion too; 0 for one that never reported.
        timestamp: when it was recorded, aware UTC, never before the one before it; 1970 where nothing was.
        attempt: which attempt at the task reported it.
        phase: how far the task is; where no phase was reported, the one that the number stands for.
        outcome: how it ended; None before.
    """

    NOT_STARTED: ClassVar[int] = NOT_STARTED
    STARTED: ClassVar[int] = STARTED
    FINISHED: ClassVar[int] = FINISHED
    FAILED: ClassVar[int] = FAILED

    job: str
    task: int
    tag: str
    status: int = NOT_STARTED
    message: str = ""
    payload: Any = None
    event_id: str | None = None
    version: int = 0
    timestamp: datetime = EPOCH
    attempt: int = 1
    phase: TaskPhase = TaskPhase.PENDING
    outcome: TaskOutcome | None = None

    @property
    def is_finished(self) -> bool:
        return self.status == FINISHED

    @property
    def is_error(self) -> bool:
        return self.status < 0

    @property
    def result(self) -> TaskResult:
        """What policies judge."""
        return TaskResult(self.attempt, self.version, self.phase, self.outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a task says of itself, checked.

    Attributes:
        payload: JSON text.
        phase, outcome: where they say more than the number.
    """

    tag: str
    status: int
    message: str
    payload: bytes | None
    event_id: str | None
    attempt: int
    phase: TaskPhase | None
    outcome: TaskOutcome | None

    @property
    def fingerprint(self) -> bytes:
        """What tells it from another report under the same event id; the order of an object's members does not."""
        return orjson.dumps(orjson.loads(self.state(0)), option=orjson.OPT_SORT_KEYS)

    def state(self, incarnation: int) -> bytes:
        """The state to be stored, as JSON text.

        Raises:
            DocumentTooLargeError: it has more than 64 KiB.
        """
        plain: dict[str, Any] = {"status": self.status}
        if self.message:
            plain["message"] = self.message
        if self.payload is not None:
            plain["payload"] = orjson.Fragment(self.payload)
        if self.event_id is not None:
            plain["event_id"] = self.event_id
        if self.phase is not None:
            plain["phase"] = self.phase.name.lower()
        if self.outcome is not None:
            plain["outcome"] = self.outcome.name.lower()
        if self.attempt != 1:
            plain["attempt"] = self.attempt
        if incarnation != 1:
            plain["incarnation"] = incarnation
        text = orjson.dumps(plain)
        if len(text) > MAX_STATUS_BYTES:
            raise DocumentTooLargeError(what="the status of a task", size=len(text), limit=MAX_STATUS_BYTES)
        return text


def checked_report(
    status: object,
    *,
    tag: object,
    message: object,
    payload: object,
    event_id: object,
    attempt: int,
    phase: TaskPhase | None = None,
    outcome: TaskOutcome | None = None,
) -> Report:
    """A report that can be stored.

    Raises:
        InvalidInputError: its number is no 32-bit integer, or its message no text.
        InvalidIdError: its tag or event id can't be used.
        EncodingError: its payload is no plain JSON data.
    """
    if not isinstance(message, str):
        raise InvalidInputError(f"message={message!r}: it must be text")
    encode(message, "$.message")
    return Report(
        tag=check_tag(tag),
        status=check_status(status),
        message=message,
        payload=None if payload is None else encode(payload, "$.payload"),
        event_id=None if event_id is None else check_id("event id", event_id),
        attempt=attempt,
        phase=phase,
        outcome=outcome,
    )


def check_status(value: object) -> int:
    """A status number.

    Raises:
        InvalidInputError: no integer of 32 bits.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not LOWEST <= value <= FINISHED:
        raise InvalidInputError(f"status={value!r}: it must be a whole number from {LOWEST} to {FINISHED}")
    return int(value)


def check_tag(value: object) -> str:
    """A tag.

    Raises:
        InvalidIdError: it is no id, too long for one with the task's index, or has a ``/``, which would cut the path of
            a status in two.
    """
    tag = check_id("tag", value)
    if "/" in tag:
        raise InvalidIdError(what="tag", value=tag, rule="'/' is not allowed in it; use ':' or '.'")
    if len(tag) > _SHORT and (length := encoded_length(tag)) > MAX_TAG_BYTES:
        rule = f"it takes {length:,} bytes encoded, the limit is {MAX_TAG_BYTES:,}"
        raise InvalidIdError(what="tag", value=tag, rule=rule)
    return tag


# The streams of statuses


def state_id(tag: str, task: int) -> str:
    """The stream of a task's status under a tag."""
    return f"{tag}:{task}"


def report_key(id: str, incarnation: int, event_id: str) -> str:
    """What a report with an event id is known by. A status's id has no ``/``, so no two share one.

    Raises:
        InvalidIdError: the tag and the event id are too long together.
    """
    key = f"{id}/{incarnation}/{event_id}"
    if len(key) > _SHORT and (length := encoded_length(key)) > MAX_ID_BYTES:
        rule = f"with the tag it takes {length:,} bytes encoded, the limit is {MAX_ID_BYTES:,}; use a hash of it"
        raise InvalidIdError(what="event id", value=event_id, rule=rule)
    return key


def tag_and_task(id: str) -> tuple[str, int] | None:
    """What the id of a stream says, or None if it is not that of a status."""
    tag, separator, number = id.rpartition(":")
    if not (separator and tag and number.isascii() and number.isdigit()) or (number[0] == "0" and number != "0"):
        return None
    return tag, int(number)


def incarnation_of(plain: Any) -> int:
    """Which incarnation of its job a stored status belongs to; of what is no status the first."""
    return _number_in(plain, "incarnation")


def attempt_of(plain: Any) -> int:
    """Which attempt reported a stored status; of what is no status the first."""
    return _number_in(plain, "attempt")


def _number_in(plain: Any, member: str) -> int:
    found = cast("Mapping[str, Any]", plain).get(member) if isinstance(plain, Mapping) else None
    return found if isinstance(found, int) else 1


def status_of(job: str, tag: str, task: int, plain: Any, version: int, at: datetime) -> TaskStatus:
    """A stored status."""
    members = cast("Mapping[str, Any]", plain)
    number = members["status"]
    phase, outcome = members.get("phase"), members.get("outcome")
    return TaskStatus(
        job=job,
        task=task,
        tag=tag,
        status=number,
        message=members.get("message", ""),
        payload=members.get("payload"),
        event_id=members.get("event_id"),
        version=version,
        timestamp=at,
        attempt=attempt_of(members),
        phase=_phase(number) if phase is None else TaskPhase[phase.upper()],
        outcome=_outcome(number) if outcome is None else TaskOutcome[outcome.upper()],
    )


def _phase(status: int) -> TaskPhase:
    if status == NOT_STARTED:
        return TaskPhase.PENDING
    return TaskPhase.RUNNING if NOT_STARTED < status < FINISHED else TaskPhase.DONE


def _outcome(status: int) -> TaskOutcome | None:
    if status < 0:
        return TaskOutcome.FAILED
    return TaskOutcome.SUCCEEDED if status == FINISHED else None


def status_for(phase: TaskPhase, outcome: TaskOutcome | None) -> int:
    """The number for a phase, or for the outcome of a task that is done."""
    if outcome is not None:
        return FAILED if outcome.is_bad else FINISHED
    return NOT_STARTED if phase < TaskPhase.RUNNING else STARTED
