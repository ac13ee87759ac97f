"""What has happened to jobs and orchestrations since somebody began to look, of one event at a time."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eventstate.jobs.job import (
    CANCELLED,
    COMPLETED,
    DEAD,
    FAILED,
    JOBS,
    LOST,
    TIMEOUT,
    JobQueued,
    JobRequeued,
    JobResultLate,
    JobRetried,
)
from eventstate.jobs.view.machine import ORCHESTRATIONS

if TYPE_CHECKING:
    from eventstate.machines.deliveries import Delivery

KEPT: Final = 100
"""Ends that are remembered one by one: more than any window shows."""

_ENDS: Final = {f"{JOBS.name}.{status}": status for status in (COMPLETED, FAILED, TIMEOUT, CANCELLED, LOST, DEAD)}

_QUEUED: Final = frozenset(event.event_type for event in (JobQueued, JobRequeued, JobRetried, JobResultLate))
"""Events after which a job does not run, or which say nothing of it."""


class End(NamedTuple):
    """How a job ended.

    Attributes:
        at: microseconds since 1970 UTC.
        told: what its last event says of the reason, or of the result.
    """

    at: int
    job_id: str
    status: str
    attempt: int | None
    told: str


class Happenings:
    """Counts ends and remembers the latest. One thread notes them, another one looks."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._ends: deque[End] = deque(maxlen=KEPT)
        self._started: dict[str, None] = {}
        self._orchestrations: dict[str, None] = {}

    def note(self, delivery: Delivery) -> None:
        """Take one event into account."""
        machine, _, id = delivery.state_id.partition("-")
        with self._mutex:
            if machine == ORCHESTRATIONS.name:
                self._orchestrations[id] = None
            elif machine == JOBS.name:
                self._note_job(id, delivery)

    def _note_job(self, id: str, delivery: Delivery) -> None:
        self._started.pop(id, None)
        status = _ENDS.get(delivery.action)
        if status is not None:
            self._counts[status] += 1
            self._ends.append(_end(id, status, delivery))
        elif delivery.action not in _QUEUED and len(self._started) < KEPT:
            self._started[id] = None

    def counts(self) -> dict[str, int]:
        """How many jobs ended in which way."""
        with self._mutex:
            return dict(self._counts)

    def ends(self) -> Sequence[End]:
        """The latest ends, the last one first."""
        with self._mutex:
            return tuple(reversed(self._ends))

    def started(self) -> list[str]:
        """Jobs of which nothing says that they don't run."""
        with self._mutex:
            return list(self._started)

    def take_orchestrations(self) -> list[str]:
        """The orchestrations that events came of since this was called last."""
        with self._mutex:
            taken, self._orchestrations = list(self._orchestrations), {}
        return taken

    def give_back(self, orchestrations: Iterable[str]) -> None:
        """Have these be taken again."""
        with self._mutex:
            self._orchestrations = {**dict.fromkeys(orchestrations), **self._orchestrations}


def _end(id: str, status: str, delivery: Delivery) -> End:
    said: dict[str, Any] = delivery.data or {}
    result: dict[str, Any] = said.get("result") or {}
    return End(said.get("at") or 0, id, status, said.get("attempt"), _told(said, result))


def _told(said: dict[str, Any], result: dict[str, Any]) -> str:
    reason = said.get("error") or said.get("reason")
    if reason:
        return str(reason)
    parts = [f"exit code {result['exit_code']}"] if result.get("exit_code") else []
    parts += [f"{result['duration_s']:.1f} s"] if result.get("duration_s") else []
    return ", ".join(parts)
