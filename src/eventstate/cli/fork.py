"""``eventstate fork`` and ``eventstate lineage``: new streams that begin where others were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventstate.cli.options import Globals


def fork(
    options: Globals,
    id: Annotated[str, typer.Argument(metavar="ID", help="The full state id to fork, such as order-42.")],
    to: Annotated[str, typer.Option("--to", metavar="NEW", help="The full state id of the fork.")],
    at_version: Annotated[int | None, typer.Option("--at-version", metavar="N", help="After its Nth event.")] = None,
    at_time: Annotated[
        str | None, typer.Option("--at-time", metavar="TIME", help="At this time: ISO 8601, UTC unless it says.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="FOLDER", help="Where 'eventstate prune' has put old events.")
    ] = None,
    changed_by: Annotated[str | None, typer.Option("--changed-by", metavar="NAME", help="Who forks it.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why.")] = None,
) -> None:
    """Begin a new stream with a state as it is, or as it was at a version or time. The old one is not touched.

    An earlier state of a typed stream needs its machine: --machines.
    """
    from eventstate.cli.output import print_json, print_text
    from eventstate.cli.records import state_record
    from eventstate.cli.travelling import instant_of, time_travel

    with time_travel(options, "write", archive=archive) as travel:
        made = travel.fork(
            id,
            to=to,
            at_version=at_version,
            at_time=instant_of("--at-time", at_time),
            changed_by=changed_by,
            reason=reason,
        )
        origin = travel.lineage(to)[0]
    if options.as_json:
        print_json({**state_record(made), "parent": {"state_id": origin.state_id, "version": origin.version}})
    else:
        print_text(f"{made.id} begins with the state of {origin.state_id} at version {origin.version:,}")


def lineage(
    options: Globals, id: Annotated[str, typer.Argument(metavar="ID", help="The full state id, such as order-42.")]
) -> None:
    """The streams that a state was forked from, and its own forks."""
    from eventstate.cli.output import print_json, print_table
    from eventstate.cli.travelling import time_travel

    with time_travel(options, "read") as travel:
        parents = travel.lineage(id)
        forks = list(travel.forks(id))
    if options.as_json:
        print_json(
            {
                "state_id": id,
                "parents": [{"governor": o.governor, "state_id": o.state_id, "version": o.version} for o in parents],
                "forks": [{"state_id": fork.state_id, "version": fork.version} for fork in forks],
            }
        )
        return
    rows = [("parent", o.state_id, f"{o.version:,}") for o in parents]
    rows += [("fork", fork.state_id, f"{fork.version:,}") for fork in forks]
    print_table(("", "state", "at version"), rows, right=("at version",))
