"""``eventstate history``: what happened to one state."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from eventstate.cli.options import MAX_LIMIT, Globals


def history(
    options: Globals,
    id: Annotated[str, typer.Argument(metavar="ID", help="The full state id, such as order-42.")],
    first: Annotated[int, typer.Option("--from", metavar="N", help="The first version to show.")] = 1,
    last: Annotated[int | None, typer.Option("--to", metavar="N", help="The last version to show.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="At most so many events.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="FOLDER", help="Where 'eventstate prune' has put old events.")
    ] = None,
) -> None:
    """The events of a state in order, with who and why, and the states they led to.

    With --json one object per line, with the states before and after.
    """
    from eventstate.cli.hints import hinting
    from eventstate.cli.output import print_json
    from eventstate.cli.records import event_record
    from eventstate.cli.session import persister

    records: list[dict[str, Any]] = []
    with persister(options, "read", archive=archive) as opened, hinting(opened, id):
        for event in islice(opened.history(id, from_version=first, to_version=last), limit):
            if options.as_json:
                print_json(event_record(event))
            else:
                records.append(event_record(event))
    if not options.as_json:
        _print_table(records)


def _print_table(records: Sequence[dict[str, Any]]) -> None:
    from eventstate.cli.output import compact, print_table
    from eventstate.cli.records import shown_time

    rows = [
        (
            f"{record['version']:,}",
            record["action"],
            shown_time(record),
            record["metadata"].get("changed_by", ""),
            record["metadata"].get("reason", ""),
            compact(record["to_state"] if record["to_state"] is not None else record["data"]),
        )
        for record in records
    ]
    shown = "state" if all(record["to_state"] is not None for record in records) else "state, or data of the event"
    print_table(
        ("version", "action", "time", "by", "reason", shown), rows, right=("version",), optional=("reason", "by")
    )
