"""``eventstate diff``: what is different between two states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.core.differences import Difference
    from eventstate.machines.comparing import StateDiff


def diff(
    options: Globals,
    id: Annotated[str, typer.Argument(metavar="ID", help="The full state id, such as order-42.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Another state id; the same one unless given.")
    ] = None,
    from_version: Annotated[
        int | None, typer.Option("--from", metavar="N", help="ID after its Nth event; 0 before the first.")
    ] = None,
    to_version: Annotated[int | None, typer.Option("--to", metavar="N", help="OTHER after its Nth event.")] = None,
    from_time: Annotated[
        str | None, typer.Option("--from-time", metavar="TIME", help="ID at this time: ISO 8601, UTC unless it says.")
    ] = None,
    to_time: Annotated[str | None, typer.Option("--to-time", metavar="TIME", help="OTHER at this time.")] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="FOLDER", help="Where 'eventstate prune' has put old events.")
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit code 1 if there is a difference.")] = False,
) -> int:
    """What is different between two versions or times of a state, or between two states.

    Current is what is not said: `diff order-42 --from 3` is from version 3 to now. Earlier versions of typed
    states need their machine: --machines.
    """
    from eventstate.cli.output import print_json
    from eventstate.cli.travelling import instant_of, time_travel
    from eventstate.machines.comparing import At

    a = At(id, version=from_version, time=instant_of("--from-time", from_time))
    b = At(other or id, version=to_version, time=instant_of("--to-time", to_time))
    with time_travel(options, "read", archive=archive) as travel:
        found = travel.diff(a, b)
    if options.as_json:
        print_json(
            {
                "from": {"state_id": found.before.id, "version": found.before.version},
                "to": {"state_id": found.after.id, "version": found.after.version},
                "is_same": found.is_same,
                "delta": found.delta,
                "changes": [change._asdict() for change in found.changes],
            }
        )
    else:
        _print(found)
    return ExitCode.FINDING if exit_code and not found.is_same else ExitCode.OK


def _print(found: StateDiff) -> None:
    from eventstate.cli.output import print_text

    print_text(f"{found.before.id} version {found.before.version:,}")
    print_text(f"{found.after.id} version {found.after.version:,}")
    if found.is_same:
        print_text("no difference")
        return
    for line in shown_changes(found.changes):
        print_text(line)


def shown_changes(changes: Sequence[Difference]) -> list[str]:
    """One line for each place: ``+`` was added, ``-`` was removed, ``~`` was changed."""
    from eventstate.cli.output import compact

    lines: list[str] = []
    for path, kind, before, after in changes:
        if kind == "added":
            lines.append(f"+ {path}  {compact(after)}")
        elif kind == "removed":
            lines.append(f"- {path}  {compact(before)}")
        else:
            lines.append(f"~ {path}  {compact(before)} -> {compact(after)}")
    return lines
