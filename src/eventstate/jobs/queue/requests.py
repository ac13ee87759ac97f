"""What is handed to a queue."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Final, cast

from eventstate.core.codec import encode
from eventstate.core.ids import check_id
from eventstate.core.instants import micros_of
from eventstate.errors import InvalidInputError
from eventstate.jobs.job import JobQueued
from eventstate.jobs.queue.layout import check_job_id, check_name, check_priority
from eventstate.jobs.queue.rules import FAIL, ON_LOST, JobRules
from eventstate.jobs.runs.scope import Parents
from eventstate.jobs.runs.specs import JobSpec

MAX_DEPENDENCIES: Final = 200
MAX_SPEC_BYTES: Final = 256 * 1024
MAX_MICROS: Final = 10**16
"""Times are sorted as text of so many digits."""
_OPTIONS: Final = ("queue", "priority", "depends_on", "after", "delay", "not_before", "limit", "on_lost")
_MEMBERS: Final = frozenset({*_OPTIONS, "rules", "ws_id", *(member.name for member in fields(JobSpec))})


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A job to be queued.

    Attributes:
        job_id: names it. The same request again changes nothing, so whoever is not sure sends it again.
        tool: the name of what runs it, as the workers know it.
        command, env, paths, metadata: what the tool is to do, as in a `JobSpec`; plain JSON data.
        queue: which workers it is for.
        priority: a higher one goes first; among equal ones, who was queued first.
        depends_on: jobs that must have completed before. If one of them ends otherwise, this one is cancelled.
        after: jobs that must have ended before, however they did.
        delay: seconds or a timedelta before it may begin.
        not_before: the same as an aware datetime.
        limit: the name of a concurrency limit that it counts for; see `JobQueue.set_limit`.
        on_lost: what becomes of it if its worker dies: ``fail``, ``requeue`` or ``ask``. A tool that may run
            twice, or fences what it writes, is safe to requeue.
        rules: how often it is tried, and what comes then.
        run_id, workstream_id: what it belongs to.
    """

    job_id: str
    tool: str
    command: Mapping[str, Any] = field(default_factory=dict[str, Any])
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    paths: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    queue: str = "default"
    priority: int = 0
    depends_on: Sequence[str] = ()
    after: Sequence[str] = ()
    delay: float | timedelta | None = None
    not_before: datetime | None = None
    limit: str | None = None
    on_lost: str = FAIL
    rules: JobRules = field(default_factory=JobRules)
    run_id: str | None = None
    workstream_id: str | None = None

    @classmethod
    def of(cls, given: JobRequest | JobSpec | Mapping[str, Any]) -> JobRequest:
        """A request from one, or from a job as it stands in a job file.

        A mapping may have the attributes of a request besides, with ``rules`` as a mapping too. Of a job's metadata
        ``timeout_seconds`` and ``max_retries`` are heeded.

        Raises:
            InvalidInputError: it is none, or has a member that there is not: a job with a misspelt ``depends_on`` would
                begin at once.
        """
        if isinstance(given, JobRequest):
            return given
        job = JobSpec.of(given)
        said = dict(given) if isinstance(given, Mapping) else {}
        unknown = sorted(map(str, said.keys() - _MEMBERS))
        if unknown:
            raise InvalidInputError(f"job {job.job_id!r}: there is no member {unknown[0]!r} of a job")
        options = {name: said[name] for name in _OPTIONS if said.get(name) is not None}
        return cls(
            job_id=job.job_id,
            tool=job.tool,
            command=job.command,
            env=job.env,
            paths=job.paths,
            metadata=job.metadata,
            rules=_rules(said.get("rules"), job.metadata),
            run_id=job.run_id,
            workstream_id=job.workstream_id,
            **options,
        )

    @property
    def needs(self) -> list[str]:
        """All jobs that it waits for."""
        return list(dict.fromkeys((*self.depends_on, *self.after)))


def _rules(said: object, metadata: Mapping[str, Any]) -> JobRules:
    """The rules that a mapping names, and for what it leaves open those that the metadata names."""
    if said is not None and not isinstance(said, Mapping):
        raise InvalidInputError(f"rules={said!r}: pass a mapping of them")
    named = dict(cast("Mapping[str, Any]", said or {}))
    unknown = sorted(named.keys() - JobRules().__dict__.keys())
    if unknown:
        raise InvalidInputError(f"rules={said!r}: there is no rule {unknown[0]!r}")
    found = {"timeout": metadata.get("timeout_seconds"), "max_retries": metadata.get("max_retries")}
    return JobRules(**{**{name: value for name, value in found.items() if value is not None}, **named})


def _check_types(request: JobRequest) -> None:
    """Raise for what is not of its type, which callers without a type checker may pass."""
    for name in ("command", "env", "paths", "metadata"):
        given: object = getattr(request, name)
        if not isinstance(given, Mapping):
            raise InvalidInputError(f"{name}= must be a mapping, not {type(given).__name__}")
    if not all(isinstance(value, str) for value in cast("Mapping[str, object]", request.env).values()):
        raise InvalidInputError(f"env={request.env!r}: its values must be text")
    for name in ("depends_on", "after"):
        given = getattr(request, name)
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise InvalidInputError(f"{name}= must be a list of job ids, not {type(given).__name__}")
    rules: Any = request.rules
    if not isinstance(rules, JobRules):
        raise InvalidInputError(f"rules= must be JobRules, not {type(rules).__name__}")


class Order:
    """A request that was checked, as bytes and event.

    Raises:
        InvalidInputError, InvalidIdError, EncodingError: what can't be queued, by name.
    """

    def __init__(self, request: JobRequest) -> None:
        self.id = check_job_id(request.job_id)
        _check_types(request)
        self.needs = [check_job_id(need) for need in request.needs]
        self.depends_on = frozenset(request.depends_on)
        self.parents = Parents(request.run_id, request.workstream_id).check()
        self._request = request
        self._check()
        self._spec = {
            name: dict(members)
            for name, members in (
                ("command", request.command),
                ("env", request.env),
                ("paths", request.paths),
                ("metadata", request.metadata),
            )
            if members
        }
        text = encode(self._asked(), "$.job")
        if len(text) > MAX_SPEC_BYTES:
            problem = f"job {self.id!r} takes {len(text):,} bytes, the limit is {MAX_SPEC_BYTES:,}"
            raise InvalidInputError(f"{problem}: keep large data elsewhere, and name it in the spec")
        self.size = len(text)
        self.digest = hashlib.sha256(text).hexdigest()[:32]

    @property
    def lane(self) -> str | None:
        """The id of the document that tells of its lane; None where every queue has it."""
        limit = self._request.limit
        return None if limit is None else f"{self._request.queue}/{limit}"

    def _check(self) -> None:
        request = self._request
        check_id("tool", request.tool)
        check_name("queue", request.queue)
        check_priority(request.priority)
        request.rules.check()
        check_name("people", request.rules.people)
        if request.limit is not None:
            check_name("limit", request.limit)
        if request.on_lost not in ON_LOST:
            raise InvalidInputError(f"on_lost={request.on_lost!r}: choose one of {', '.join(ON_LOST)}")
        if self.id in self.needs:
            raise InvalidInputError(f"job {self.id!r} can't depend on itself")
        if len(self.needs) > MAX_DEPENDENCIES:
            problem = f"job {self.id!r} depends on {len(self.needs)} jobs, the limit is {MAX_DEPENDENCIES}"
            raise InvalidInputError(f"{problem}: gather some in a job between")
        both = self.depends_on.intersection(request.after)
        if both:
            raise InvalidInputError(f"job {self.id!r} names {min(both)!r} in depends_on and in after: choose one")
        if request.delay is not None and request.not_before is not None:
            raise InvalidInputError("delay= and not_before= say the same: pass one of them")
        if request.delay is not None and not 0 <= self._delay() <= 100 * 366 * 86_400 * 1_000_000:
            raise InvalidInputError(f"delay={request.delay!r}: pass seconds from 0, up to a hundred years")
        if request.not_before is not None and micros_of(request.not_before, "not_before") >= MAX_MICROS:
            raise InvalidInputError(f"not_before={request.not_before}: pass a time before the year 2286")

    def _delay(self) -> int:
        """Microseconds to wait."""
        delay = self._request.delay
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise InvalidInputError(f"delay={delay!r}: pass seconds or a timedelta")
        # The order of arguments matters: what is no number becomes -1, and is refused.
        return int(min(max(-1, seconds), 1e12) * 1_000_000)

    def _due(self, at: int) -> int | None:
        request = self._request
        if request.not_before is not None:
            return micros_of(request.not_before, "not_before")
        return None if request.delay is None else at + self._delay()

    def _asked(self) -> dict[str, Any]:
        """What was asked for, equal for equal requests."""
        request = self._request
        return {
            "tool": request.tool,
            "spec": self._spec,
            "queue": request.queue,
            "priority": request.priority,
            "depends_on": list(request.depends_on),
            "after": list(request.after),
            "delay": None if request.delay is None else self._delay(),
            "not_before": None if request.not_before is None else micros_of(request.not_before, "not_before"),
            "limit": request.limit,
            "on_lost": request.on_lost,
            "rules": request.rules.plain(),
            "run_id": request.run_id,
            "workstream_id": request.workstream_id,
        }

    def event(self, at: int) -> JobQueued:
        """The event that queues it now."""
        request = self._request
        return JobQueued(
            at,
            *self.parents,
            request.tool,
            self._spec,
            request.queue,
            request.priority,
            list(request.depends_on),
            list(request.after),
            request.on_lost,
            request.limit,
            request.rules.plain(),
            self.digest,
            self._due(at),
        )
