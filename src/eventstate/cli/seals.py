"""``eventstate seals``: the seals that were taken, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventstate.cli.options import Globals
from eventstate.errors import InvalidInputError


def seals(
    options: Globals,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one to this file instead.")] = None,
    number: Annotated[int | None, typer.Option(metavar="N", min=1, help="Which one; the newest unless given.")] = None,
    full: Annotated[bool, typer.Option("--full", help="With the list of all streams.")] = False,
) -> None:
    """List the seals, oldest first, each checked against the one before; or write one to a file."""
    from eventstate.cli.output import print_json, print_table, print_text
    from eventstate.cli.seal import record_of
    from eventstate.cli.session import opened
    from eventstate.cli.urls import refuse_store_files
    from eventstate.log.sealing.manager import SealManager

    if file is None and (number is not None or full):
        raise InvalidInputError("--number and --full are for --file, which writes one seal to a file")
    refuse_store_files(options, file)
    with opened(options, "read") as store:
        manager = SealManager(store, governor=options.resolved_governor)
        if file is not None:
            written = manager.export(file, number=number, full=full)
            if options.as_json:
                print_json({**record_of(written), "file": str(file)})
            else:
                print_text(f"seal {written.number}, written to {file}")
            return
        found = list(manager.list_seals())
    if options.as_json:
        print_json({"seals": [record_of(taken) for taken in found]})
        return
    rows = [
        (str(s.number), f"{s.taken_at:%Y-%m-%d %H:%M:%S}", f"{s.streams:,}", f"{s.events:,}", s.digest) for s in found
    ]
    print_table(("seal", "taken (UTC)", "streams", "events", "digest"), rows, right=("seal", "streams", "events"))
