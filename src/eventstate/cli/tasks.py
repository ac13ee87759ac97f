"""``eventstate tasks``: how the tasks of a job are doing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import MAX_LIMIT, Globals

if TYPE_CHECKING:
    from eventstate.jobs.tasks.job_tasks import JobTasks
    from eventstate.jobs.tasks.policies import TaskOutcome, TaskPhase, TaskVerdict
    from eventstate.jobs.tasks.status import TaskStatus


def tasks(
    options: Globals,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as its tasks report into it.")],
    task: Annotated[int | None, typer.Option("--task", metavar="N", help="Only this task, by its index.")] = None,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="Only what is reported under this tag.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="Show at most so many statuses.")
    ] = 100,
) -> None:
    """The statuses of a job's tasks by task and tag, the lowest of them all, and what they come to.

    A task that has not reported is at 0. With --json one object.
    """
    from eventstate.cli.output import note, print_fields, print_json, print_table, print_text
    from eventstate.cli.session import opened
    from eventstate.errors import JobNotFoundError
    from eventstate.jobs.tasks.job_tasks import JobTasks

    with opened(options, "read") as store:
        try:
            found = JobTasks(store, job)
        except JobNotFoundError as error:
            raise JobNotFoundError(governor=error.governor, job_id=job) from None
        statuses = list(_expected(found, task, tag))
        verdict = found.verdict(tag=tag) if task is None else None
    lowest = min(statuses, key=lambda status: status.status)
    shown = statuses[:limit]
    if options.as_json:
        told = {} if verdict is None else _verdict(verdict)
        listed = [_record(status) for status in shown]
        print_json({"job": job, "tasks": found.tasks, "lowest": _record(lowest), **told, "statuses": listed})
        return
    columns = ("task", "tag", "status", "means", "version", "attempt", "time", "message")
    right = ("task", "status", "version", "attempt")
    print_table(columns, [_row(status) for status in shown], right=right, optional=("version", "attempt"))
    print_text("")
    print_fields([("lowest", f"{lowest.status} of task {lowest.task}, tag {lowest.tag}"), *_judged(verdict)])
    if len(shown) < len(statuses):
        note(f"{len(statuses) - len(shown):,} more statuses: --limit {len(statuses)} shows all")


def _expected(found: JobTasks, task: int | None, tag: str | None) -> Iterator[TaskStatus]:
    """What each expected task has reported, by task and tag; of a silent one the status it counts as."""
    from eventstate.jobs.tasks.status import MAIN, TaskStatus

    by_task: dict[int, list[TaskStatus]] = {}
    for status in found.list(task=task, tag=tag):
        by_task.setdefault(status.task, []).append(status)
    for index in range(found.tasks) if task is None else (task,):
        silent = TaskStatus(job=found.job, task=index, tag=MAIN if tag is None else tag)
        yield from sorted(by_task.get(index, [silent]), key=lambda status: status.tag)


def _record(status: TaskStatus) -> dict[str, Any]:
    from eventstate.cli.records import instant

    return {
        "task": status.task,
        "tag": status.tag,
        "status": status.status,
        "phase": status.phase.name.lower(),
        "outcome": None if status.outcome is None else status.outcome.name.lower(),
        "message": status.message,
        "payload": status.payload,
        "event_id": status.event_id,
        "version": status.version,
        "attempt": status.attempt,
        "timestamp": instant(status.timestamp) if status.version else None,
    }


def _row(status: TaskStatus) -> tuple[str, ...]:
    from eventstate.cli.records import instant, to_the_second

    means = _means(status.phase, status.outcome)
    time = to_the_second(instant(status.timestamp)) if status.version else ""
    numbers = str(status.version), str(status.attempt)
    return str(status.task), status.tag, str(status.status), means, *numbers, time, status.message


def _means(phase: TaskPhase, outcome: TaskOutcome | None) -> str:
    return (phase if outcome is None else outcome).name.lower()


def _verdict(verdict: TaskVerdict) -> dict[str, Any]:
    return {
        "phase": verdict.phase.name.lower(),
        "outcome": None if verdict.outcome is None else verdict.outcome.name.lower(),
        "is_doomed": verdict.is_doomed,
    }


def _judged(verdict: TaskVerdict | None) -> Sequence[tuple[str, str]]:
    """What all tasks come to, if every one of them must end well."""
    if verdict is None:
        return ()
    is_early = verdict.is_doomed and verdict.outcome is None
    return [("job", f"{_means(verdict.phase, verdict.outcome)}{', but can not end well any more' if is_early else ''}")]
