"""``eventstate worker``: does the jobs of a queue."""

from __future__ import annotations

from typing import Annotated

import typer

from eventstate.cli.options import Globals


def worker(
    options: Globals,
    tools: Annotated[
        list[str],
        typer.Option("--tools", metavar="MODULE:NAME", help="What does the jobs: a dict of tools, or one. Repeatable."),
    ],
    queue: Annotated[
        list[str] | None,
        typer.Option("--queue", metavar="NAME", help="Which queues; 'default' unless given. Repeatable."),
    ] = None,
    slots: Annotated[int, typer.Option("--slots", metavar="N", help="How many jobs at the same time.")] = 1,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="A name of its own.")] = None,
    ttl: Annotated[
        float,
        typer.Option("--ttl", metavar="SECONDS", help="Taken for dead once it has not been heard of for so long."),
    ] = 30.0,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", help="How long its jobs may go on once it is to stop.")
    ] = 30.0,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End once there is nothing left to do.")] = False,
) -> None:
    """Do the jobs of queues until SIGTERM or Ctrl-C: its jobs then have a time of grace, until a second one ends it.

    With --json one object at the end.
    """
    from eventstate.cli.output import count, note, print_json
    from eventstate.cli.queue import job_queue
    from eventstate.cli.tools import load_tools
    from eventstate.jobs.queue.worker import Worker

    loaded = load_tools(tools)
    with job_queue(options, "create") as opened:
        made = Worker(opened, loaded, queues=queue or ("default",), name=name, slots=slots, ttl=ttl, grace=grace)
        note(f"worker {made.name} begins")
        done = made.run(until_idle=until_idle)
    if options.as_json:
        print_json({"worker": made.name, "attempts": done})
    else:
        note(f"worker {made.name} ended after {count(done, 'attempt')}")
