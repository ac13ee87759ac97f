"""``eventstate pins``, ``eventstate hold`` and ``eventstate release``: what no prune may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.core.pins import Pin


def pins(options: Globals) -> None:
    """What is pinned: holds made by 'eventstate hold', and what the library pins itself, such as parents of forks.

    With --json one object per line.
    """
    from eventstate.cli.output import print_json, print_table
    from eventstate.cli.session import opened
    from eventstate.machines.retention_manager import RetentionManager

    with opened(options, "read") as store:
        found = RetentionManager(store, governor=options.resolved_governor).pins()
    if options.as_json:
        for pin in found:
            print_json(_record(pin))
        return
    rows = [
        (
            pin.kind,
            pin.name,
            _held(pin),
            f"{pin.from_version:,}",
            f"{pin.at:%Y-%m-%d %H:%M}",
            pin.by or "",
            pin.reason or "",
        )
        for pin in found
    ]
    print_table(("kind", "name", "what", "from version", "since", "by", "reason"), rows, right=("from version",))


def hold(
    options: Globals,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the hold.")],
    id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Hold this state; all of the governor if not given.")
    ] = None,
    machine: Annotated[
        str | None, typer.Option("--machine", metavar="NAME", help="Hold all states of a machine.")
    ] = None,
    from_version: Annotated[
        int | None,
        typer.Option("--from-version", metavar="N", min=1, help="Hold this version of the state and later ones."),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why.")] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who asks for it.")] = None,
) -> None:
    """Keep events from being pruned, whatever the rules say, until 'eventstate release NAME'."""
    from eventstate.cli.output import print_json, print_text
    from eventstate.cli.session import opened
    from eventstate.machines.retention_manager import RetentionManager

    with opened(options, "write") as store:
        pin = RetentionManager(store, governor=options.resolved_governor).hold(
            name, id, machine=machine, from_version=from_version, reason=reason, by=by
        )
    if options.as_json:
        print_json(_record(pin))
    else:
        print_text(f"{_held(pin)} from version {pin.from_version:,} on: held as {pin.name!r}")


def release(
    options: Globals,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The hold; 'eventstate pins' lists them.")],
) -> int | None:
    """Take a hold away."""
    from eventstate.cli.output import note, print_json, print_text
    from eventstate.cli.session import opened
    from eventstate.machines.retention_manager import RetentionManager

    with opened(options, "write") as store:
        released = RetentionManager(store, governor=options.resolved_governor).release(name)
    if not released:
        note(f"there is no hold {name!r} in governor {options.resolved_governor!r}")
        return ExitCode.NOT_FOUND
    if options.as_json:
        print_json({"released": name})
    else:
        print_text(f"{name!r} is released")
    return None


def _held(pin: Pin) -> str:
    if pin.state_id is not None:
        return pin.state_id
    return f"all states of machine {pin.machine}" if pin.machine is not None else "all states"


def _record(pin: Pin) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(pin), "at": pin.at.isoformat()}
