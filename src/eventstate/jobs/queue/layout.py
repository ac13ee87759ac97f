"""Where a queue keeps what: the names of its documents. All of them follow from the jobs, but for limits and bells.

A job that waits for nothing but a worker has a document among the *ready* ones, whose ids sort by priority and time;
one whose time has not come, among the *delayed*; one that depends on others, among the *waiting*, with an *edge* for
each of them. A running job has one under its worker, so that what a dead worker leaves is found. A job that has ended
leaves a *release* until those that depend on it know.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from eventstate.core.ids import check_id
from eventstate.core.leases import FENCES_PER_EPOCH, Fence
from eventstate.errors import InvalidIdError, InvalidInputError
from eventstate.jobs.job import Job

READY: Final = "ready"
LANES: Final = "lanes"
DELAYED: Final = "delayed"
WAITING: Final = "waiting"
EDGES: Final = "dependents"
RUNNING: Final = "running"
RELEASES: Final = "release"
PEOPLE: Final = "people"
LIMITS: Final = "limits"
SLOTS: Final = "slots"
BELLS: Final = "bells"

MAX_PRIORITY: Final = 1_000_000
MAX_JOB_ID: Final = 200
MAX_NAME: Final = 60
_FORBIDDEN: Final = "/"

JOB_FENCE: Final = "eventstate/job/"
WORKER_LOCK: Final = "eventstate/worker/"


def check_job_id(value: object) -> str:
    """Return ``value`` if it can name a job of a queue.

    Raises:
        InvalidIdError: not an id, too long, or with ``/``.
    """
    return _checked("job id", value, MAX_JOB_ID)


def check_name(what: str, value: object) -> str:
    """Return ``value`` if it can name a queue, a limit, a worker, or people.

    Raises:
        InvalidIdError: not an id, too long, or with ``/``, ``:``.
    """
    name = _checked(what, value, MAX_NAME)
    if ":" in name:
        raise InvalidIdError(what=what, value=value, rule="':' is not allowed in it")
    return name


def _checked(what: str, value: object, longest: int) -> str:
    name = check_id(what, value)
    if _FORBIDDEN in name:
        raise InvalidIdError(what=what, value=value, rule="'/' is not allowed in it")
    if len(name) > longest or not name.isascii():
        raise InvalidIdError(what=what, value=value, rule=f"it must be ASCII text of at most {longest} characters")
    return name


def check_priority(value: object) -> int:
    """Return ``value`` if it can be a priority.

    Raises:
        InvalidInputError: no whole number, or beyond a million.
    """
    if type(value) is not int or abs(value) > MAX_PRIORITY:
        raise InvalidInputError(f"priority={value!r}: pass a whole number up to {MAX_PRIORITY:,}; higher goes first")
    return value


def lane_of(queue: str, limit: str | None) -> str:
    """Where jobs of a queue wait that count for one limit, or for none: so that no full one hides others."""
    return f"{queue}/{limit or ''}/"


def ready_id(id: str, job: Job) -> str:
    """Sorts by priority, the highest first, then by when the job was queued."""
    return f"{lane_of(job.queue, job.limit)}{place_of(id, job)}"


def place_of(id: str, job: Job) -> str:
    """A job's place in its queue."""
    return f"{MAX_PRIORITY - job.priority:07d}{job.queued_at or 0:016d}:{id}"


def job_of_place(place: str) -> str:
    """The job whose place this is."""
    return place[24:]


def delayed_id(id: str, job: Job) -> str:
    return f"{job.queue}/{job.not_before or 0:016d}:{id}"


def edge_id(needed: str, dependent: str) -> str:
    return f"{needed}/{dependent}"


def people_id(people: str, id: str) -> str:
    return f"{people}/{id}"


def slot_id(limit: str, number: int) -> str:
    return f"{limit}/{number:06d}"


def release_id(id: str, version: int) -> str:
    """Of one ending: a job that was queued again may end again."""
    return f"{id}/{version}"


def job_of_release(release: str) -> str:
    """The job that has ended."""
    return release.partition("/")[0]


class WorkerMark(NamedTuple):
    """One life of a worker, as long as it holds its lock.

    Attributes:
        name: of the worker.
        fence: of its lock; goes when the lock does.
    """

    name: str
    fence: Fence

    def __str__(self) -> str:
        return f"{self.name}:{self.fence.token}"


def worker_lock(name: str) -> str:
    return f"{WORKER_LOCK}{name}"


def attempt_fence(governor: str, id: str, attempt: int, epoch: int) -> Fence:
    """What commits of one attempt check: it exists while the attempt is the one that counts."""
    return Fence(governor, f"{JOB_FENCE}{id}", epoch * FENCES_PER_EPOCH + attempt)
