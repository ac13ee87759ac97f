"""``eventstate list``: the states that exist."""

from __future__ import annotations

from typing import Annotated

import typer

from eventstate.cli.options import MAX_LIMIT, Globals


def list_states(
    options: Globals,
    prefix: Annotated[str, typer.Option("--prefix", help="Only ids that begin so.")] = "",
    machine: Annotated[str | None, typer.Option("--machine", metavar="NAME", help="Only this machine's.")] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state", metavar="NAME", help="Only those in this declared state; else whose last action it is."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="At most so many.")] = 100,
    after: Annotated[str, typer.Option("--after", metavar="ID", help="Go on after this id.")] = "",
) -> None:
    """Some of the states that exist, in id order.

    With --json one object per line; the id of the last line is the --after of the next page.
    """
    from eventstate.cli.hints import why_empty
    from eventstate.cli.machines import load_machines
    from eventstate.cli.output import note, print_json, print_table
    from eventstate.cli.records import shown_time, state_record
    from eventstate.cli.session import persister

    with persister(options, "read") as opened:
        page = opened.list_states(prefix=prefix, machine=machine, state=state, after=after, limit=limit)
        is_filtered = machine is not None or state is not None
        if is_filtered and not page.states and not after:
            note(why_empty(opened, load_machines(options.machines), machine, state))
    records = [state_record(found) for found in page.states]
    if options.as_json:
        for record in records:
            print_json(record)
        return
    rows = [(record["state_id"], f"{record['version']:,}", record["action"], shown_time(record)) for record in records]
    print_table(("state", "version", "last action", "time"), rows, right=("version",))
    if page.next is not None:
        note(f"there are more: --after {page.next!r}")
