"""``eventstate projections`` and ``eventstate projection``: read models, how they are doing, run and rebuilt."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.cli.session import Access
    from eventstate.machines.projection import Projection
    from eventstate.machines.projection_manager import ProjectionManager
    from eventstate.machines.projection_status import ProjectionStatus

Declared = Annotated[
    str, typer.Argument(metavar="MODULE:NAME", help="A declared Projection, imported from here or installed.")
]
Named = Annotated[str, typer.Argument(metavar="NAME", help="Its name; 'eventstate projections' lists them.")]


def projections(options: Globals) -> None:
    """The projections of the governor: how many events they have handled, and how far behind they are."""
    from eventstate.cli.output import print_json, print_table

    with _manager(options, "read") as manager:
        found = list(manager.statuses())
    if options.as_json:
        for status in found:
            print_json(status_record(status))
        return
    rows = [
        (
            status.name,
            f"{status.version}",
            f"{status.generation}",
            f"{status.events:,}",
            f"{status.behind:,}",
            status.updated_at.isoformat(sep=" ", timespec="seconds") if status.updated_at else "never",
            "" if status.building is None else f"generation {status.building}, {status.building_events or 0:,} events",
        )
        for status in found
    ]
    columns = ("projection", "version", "generation", "events", "behind", "updated", "being built")
    print_table(columns, rows, right=("version", "generation", "events", "behind"))


def show_projection(
    options: Globals,
    name: Named,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only ids that begin so.")] = "",
) -> None:
    """The documents of a projection, in the order of their ids. With --json one object per line."""
    from eventstate.cli.output import compact, print_json, print_text

    with _manager(options, "read") as manager:
        for id, value in manager.list(name, prefix=prefix):
            if options.as_json:
                print_json({"id": id, "value": value})
            else:
                print_text(f"{id}  {compact(value)}")


def run_projection(
    options: Globals,
    declared: Declared,
    once: Annotated[bool, typer.Option("--once", help="End when everything that is there now is handled.")] = False,
) -> None:
    """Handle what is there and then what comes, until it is interrupted."""

    def run(manager: ProjectionManager, projection: Projection, advance: Callable[[int], None]) -> None:
        manager.catch_up(projection, progress=advance)
        if not once:
            manager.run(projection)

    _work(options, declared, "handling events", run)


def rebuild_projection(options: Globals, declared: Declared) -> None:
    """Build a projection anew beside the one that is read, which then gives way to it. Goes on with one broken off."""

    def rebuild(manager: ProjectionManager, projection: Projection, advance: Callable[[int], None]) -> None:
        manager.rebuild(projection, progress=advance)

    _work(options, declared, "rebuilding", rebuild)


def delete_projection(
    options: Globals, name: Named, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> int | None:
    """Remove a projection and all its documents. Stop what runs it first."""
    from eventstate.cli.output import note, print_text

    with _manager(options, "write") as manager:
        status = manager.status(name)
        question = f"projection {name!r} has handled {status.events:,} events. Delete its documents?"
        if not yes and not typer.confirm(question, err=True):
            note("nothing was done")
            return ExitCode.INTERRUPTED
        manager.delete(name)
    if not options.as_json:
        print_text(f"projection {name!r} is deleted")
    return None


def _work(
    options: Globals,
    declared: str,
    what: str,
    work: Callable[[ProjectionManager, Projection, Callable[[int], None]], None],
) -> None:
    from eventstate.cli.machines import load_projection
    from eventstate.cli.output import counter, print_json, print_text

    projection = load_projection(declared)
    started = time.monotonic()
    with _manager(options, "write") as manager, counter() as shown:
        task = shown.add_task(what, total=None)
        work(manager, projection, lambda handled: shown.update(task, completed=handled))
        status = manager.status(projection.name)
    seconds = time.monotonic() - started
    if options.as_json:
        print_json({**status_record(status), "seconds": round(seconds, 3)})
    else:
        print_text(
            f"projection {status.name!r}, version {status.version}: {status.events:,} events handled, {status.behind:,}"
            f" behind, in {seconds:.2f} s"
        )


@contextmanager
def _manager(options: Globals, access: Access) -> Generator[ProjectionManager]:
    from eventstate.cli.machines import load_machines
    from eventstate.cli.session import keyring, opened
    from eventstate.machines.projection_manager import ProjectionManager

    machines = load_machines(options.machines)
    with opened(options, access) as store, keyring(options, access) as keys:
        yield ProjectionManager(store, governor=options.resolved_governor, machines=machines, keyring=keys)


def status_record(status: ProjectionStatus) -> dict[str, Any]:
    """The shape of a status in ``--json``."""
    from eventstate.cli.records import instant

    return {
        "name": status.name,
        "version": status.version,
        "generation": status.generation,
        "events": status.events,
        "behind": status.behind,
        "updated_at": instant(status.updated_at),
        "building": status.building,
        "building_version": status.building_version,
        "building_events": status.building_events,
    }
