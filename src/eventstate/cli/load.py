"""``eventstate load``: a state as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventstate.cli.options import Globals


def load(
    options: Globals,
    id: Annotated[str, typer.Argument(metavar="ID", help="The full state id, such as order-42.")],
    at_version: Annotated[int | None, typer.Option("--at-version", metavar="N", help="After its Nth event.")] = None,
    at_time: Annotated[
        str | None, typer.Option("--at-time", metavar="TIME", help="At this time: ISO 8601, UTC unless it says.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="FOLDER", help="Where 'eventstate prune' has put old events.")
    ] = None,
) -> None:
    """A state at a version or a time; the current one if neither is given.

    A time is compared with when events occurred, or were recorded where they do not say.
    """
    from eventstate.cli.hints import hinting
    from eventstate.cli.output import print_json
    from eventstate.cli.records import parse_instant
    from eventstate.cli.session import persister
    from eventstate.cli.show import described, print_state
    from eventstate.errors import ConfigurationError

    try:
        at = parse_instant(at_time) if at_time is not None else None
    except ValueError as error:
        raise ConfigurationError(f"--at-time: {error}") from None
    with persister(options, "read", archive=archive) as opened, hinting(opened, id):
        record = described(opened.load(id, at_version=at_version, at_time=at), None)
    if options.as_json:
        print_json(record)
    else:
        print_state(record)
