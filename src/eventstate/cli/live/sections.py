"""What the live table says of what there is and what has happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from eventstate.cli.live.frame import Section
from eventstate.cli.records import to_the_second
from eventstate.core.instants import utc_of

if TYPE_CHECKING:
    from eventstate.cli.live.happenings import Happenings
    from eventstate.cli.live.looking import Look
    from eventstate.jobs.view.snapshot import OrchestrationSnapshot

_SECOND: Final = 1_000_000


def sections_of(look: Look, happened: Happenings, now: int) -> list[Section]:
    """The sections, the most wanted first. Those without rows are left out when they are drawn."""
    counts, ends = happened.counts(), happened.ends()
    return [
        _section(
            ("queue", "ready", "delayed", "waiting", "running"),
            [(queue.queue, *(f"{number:,}" for number in queue[1:])) for queue in look.queues],
            numbers=4,
        ),
        _section(
            ("running", "worker", "attempt", "since"),
            [
                (one.job_id, one.worker.partition(":")[0], str(one.attempt), _span(now - (one.started_at or now)))
                for one in look.running
            ],
            numbers=2,
            total=look.total_running,
        ),
        _section(
            ("ended", *sorted(counts)),
            [("jobs", *(f"{counts[status]:,}" for status in sorted(counts)))] if counts else [],
            numbers=len(counts),
        ),
        _section(
            ("last ends", "status", "at", "attempt", ""),
            [
                (end.job_id, end.status, _time(end.at), "" if end.attempt is None else str(end.attempt), end.told)
                for end in ends
            ],
            total=sum(counts.values()),
        ),
        _section(
            ("next delayed", "queue", "in"),
            [(one.job_id, one.queue, _span(one.due_at - now)) for one in look.delayed],
            numbers=1,
            total=sum(queue.delayed for queue in look.queues),
        ),
        _section(
            ("limit", "most", "running"), [(name, f"{most:,}", f"{n:,}") for name, most, n in look.limits], numbers=2
        ),
        _section(
            ("orchestration", "status", "units", "in progress"),
            [(id, found.status, _units(found), _in_progress(found)) for id, found in look.orchestrations],
        ),
        _section(
            ("run", "status", "since"),
            [(run["run_id"], run["status"], to_the_second(run["updated_at"])) for run in look.runs],
        ),
    ]


def _section(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0, total: int = 0) -> Section:
    """One whose last columns hold numbers."""
    return Section(columns, rows, columns[len(columns) - numbers :], total)


def _units(orchestration: OrchestrationSnapshot) -> str:
    summary = orchestration.summary
    failed = f", {summary.failed:,} failed" if summary.failed else ""
    blocked = f", {summary.blocked:,} blocked" if summary.blocked else ""
    return f"{summary.complete:,} of {summary.total:,} complete{failed}{blocked}"


def _in_progress(orchestration: OrchestrationSnapshot) -> str:
    return ", ".join(unit.id for unit in orchestration.units if unit.status == "in_progress")


def _time(micros: int) -> str:
    return f"{utc_of(micros):%H:%M:%S}Z" if micros else ""


def _span(micros: int) -> str:
    """A time span for people: two units at most."""
    seconds = max(0, micros // _SECOND)
    for size, unit, below, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{seconds // size:,} {unit} {seconds % size // below} {smaller}"
    return f"{seconds} s"
