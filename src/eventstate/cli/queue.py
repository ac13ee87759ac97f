"""``eventstate queue``: what waits, and what people say about it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import orjson
import typer

from eventstate.cli.options import Globals
from eventstate.errors import InvalidInputError

if TYPE_CHECKING:
    from eventstate.cli.session import Access
    from eventstate.jobs.queue.job_queue import JobQueue

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the log.")]
_LIST = typer.Option(metavar="ID")


@contextmanager
def job_queue(options: Globals, access: Access) -> Generator[JobQueue]:
    """The queue of the global options."""
    from eventstate.cli.session import opened
    from eventstate.jobs.queue.job_queue import JobQueue

    with opened(options, access) as store:
        yield JobQueue(store, governor=options.jobs_governor)


def show_queue(options: Globals) -> None:
    """How many jobs wait for what and how many run, by queue; the limits, and the jobs that people are asked about.

    With --json one object.
    """
    from eventstate.cli.output import note, print_json, print_table, print_text

    with job_queue(options, "read") as queue:
        depths, limits, asked = queue.depths(), queue.limits(), list(queue.asked())
    if options.as_json:
        print_json(
            {
                "queues": [depth._asdict() for depth in depths],
                "limits": [limit._asdict() for limit in limits],
                "asked": [one._asdict() for one in asked],
            }
        )
        return
    if not depths:
        note(f"no jobs of governor {options.jobs_governor!r} wait or run")
    numbers = ("ready", "delayed", "waiting", "running")
    print_table(("queue", *numbers), [tuple(map(str, depth)) for depth in depths], right=numbers)
    if limits:
        print_text("")
        print_table(("limit", "most", "running"), [tuple(map(str, limit)) for limit in limits], right=numbers)
    if asked:
        print_text("")
        print_table(("asked", "job", "status"), asked)


def add_job(
    options: Globals,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The job's id.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="A JSON file with a job, or an array of jobs.")
    ] = None,
    tool: Annotated[str, typer.Option("--tool", metavar="NAME", help="What is to do it.")] = "",
    queue: Annotated[str, typer.Option("--queue", metavar="NAME", help="Which workers it is for.")] = "default",
    priority: Annotated[int, typer.Option("--priority", metavar="N", help="Higher ones go first.")] = 0,
    depends_on: Annotated[
        list[str] | None, typer.Option("--depends-on", metavar="ID", help="Has to complete before. Repeatable.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option("--after", metavar="ID", help="Has to end before. Repeatable.")
    ] = None,
    delay: Annotated[
        float | None, typer.Option("--delay", metavar="SECONDS", help="Not to begin before they have passed.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="NAME", help="The concurrency limit that it counts for.")
    ] = None,
    on_lost: Annotated[
        str, typer.Option("--on-lost", metavar="WHAT", help="If its worker dies: fail, requeue or ask.")
    ] = "fail",
    retries: Annotated[int, typer.Option("--retries", metavar="N", help="How often it is tried again.")] = 0,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="How long an attempt may take.")
    ] = None,
    metadata: Annotated[str | None, typer.Option("--metadata", metavar="JSON", help="An object for its tool.")] = None,
) -> None:
    """Queue a job, or the jobs of a file, which may depend on each other. The same again changes nothing."""
    from eventstate.cli.output import print_json, print_text
    from eventstate.jobs.queue.requests import JobRequest
    from eventstate.jobs.queue.rules import JobRules

    if (id is None) == (file is None):
        raise InvalidInputError("which job? Give an ID, or a --file")
    if file is not None:
        jobs = _jobs_in(file)
    else:
        assert id is not None
        jobs = [
            JobRequest(
                job_id=id,
                tool=tool,
                queue=queue,
                priority=priority,
                depends_on=depends_on or (),
                after=after or (),
                delay=delay,
                limit=limit,
                on_lost=on_lost,
                rules=JobRules(max_retries=retries, timeout=timeout),
                metadata=_object(metadata),
            )
        ]
    with job_queue(options, "create") as opened:
        ids = opened.queue_jobs(jobs)
    if options.as_json:
        print_json({"queued": ids})
    else:
        print_text("\n".join(ids))


def _jobs_in(file: Path) -> list[Any]:
    try:
        found = orjson.loads(file.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{file} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInputError(f"{file} is no JSON: {error}") from None
    return cast("list[Any]", found) if isinstance(found, list) else [found]


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = orjson.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"--metadata is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInputError("--metadata must be a JSON object")
    return cast("dict[str, Any]", found)


def cancel_job(options: Globals, id: JobId, reason: Reason = None) -> None:
    """Have a job not run; one that runs is stopped by its worker."""
    with job_queue(options, "write") as queue:
        _tell(options, id, queue.cancel(id, reason=reason))


def revive_job(options: Globals, id: JobId, reason: Reason = None) -> None:
    """Have a job that is dead or lost wait again, with its failures forgiven."""
    with job_queue(options, "write") as queue:
        _tell(options, id, queue.revive(id, reason=reason))


def answer_job(
    options: Globals,
    id: JobId,
    answer: Annotated[str, typer.Argument(metavar="ANSWER", help="requeue or fail.")],
    reason: Reason = None,
) -> None:
    """Decide about a job that people are asked about."""
    with job_queue(options, "write") as queue:
        _tell(options, id, queue.answer(id, answer, reason=reason))


def limit_jobs(
    options: Globals,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The limit's name, as jobs give it.")],
    most: Annotated[str, typer.Argument(metavar="N", help="How many may run at a time; 'none' for any number.")],
) -> None:
    """Let at most so many jobs run at a time that count for a limit."""
    if most != "none" and not most.isdecimal():
        raise InvalidInputError(f"{most!r}: say how many, or 'none'")
    with job_queue(options, "create") as queue:
        queue.set_limit(name, None if most == "none" else int(most))


def _tell(options: Globals, id: str, status: str) -> None:
    from eventstate.cli.output import print_json, print_text

    if options.as_json:
        print_json({"job_id": id, "status": status})
    else:
        print_text(f"{id} is {status}")
