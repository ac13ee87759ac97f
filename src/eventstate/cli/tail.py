"""``eventstate tail``: what happens, as it happens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import MAX_LIMIT, Globals
from eventstate.cli.places import parse_place

if TYPE_CHECKING:
    from eventstate.cli.lines import Lines
    from eventstate.machines.deliveries import Delivery
    from eventstate.machines.persister import StateMachinePersister


def tail(
    options: Globals,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this state, such as order-42.")] = None,
    start: Annotated[
        str, typer.Option("--from", metavar="PLACE", help="'now', 'beginning', or a position (of one state a version).")
    ] = "now",
    machine: Annotated[
        list[str] | None, typer.Option("--machine", metavar="NAME", help="Only states of this machine. Repeatable.")
    ] = None,
    action: Annotated[
        list[str] | None, typer.Option("--action", metavar="NAME", help="Only events of this type. Repeatable.")
    ] = None,
    all_governors: Annotated[bool, typer.Option("--all-governors", help="The events of all governors.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when everything there is now has been shown.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="End after so many events.")
    ] = None,
) -> None:
    """Events as they are committed, until interrupted; from the past first where --from says so.

    With --json one object per line, among them one that only says {"caught_up": ...}.
    """
    from eventstate.cli.lines import Lines
    from eventstate.cli.output import note, print_json
    from eventstate.cli.session import persister
    from eventstate.machines.deliveries import CaughtUp
    from eventstate.machines.subscription import Subscription

    shown, place = 0, parse_place(start)
    lines = Lines(("dim", "cyan", "", "bold", ""))
    with (
        persister(options, "read") as opened,
        Subscription(
            opened,
            state_id=id,
            machines=machine or None,
            actions=action or None,
            all_governors=all_governors,
            start=place,
        ) as subscription,
    ):
        if id is not None:
            _check_known(opened, id, once=once)
        for item in subscription.marked(until_caught_up=once):
            if isinstance(item, CaughtUp):
                if options.as_json:
                    print_json({"caught_up": str(item.place)})
                elif not once:
                    note("caught up; waiting for what comes (Ctrl-C ends)")
            else:
                print_json(_record(item)) if options.as_json else _show(lines, item, all_governors)
                shown += 1
            sys.stdout.flush()
            if shown == limit:
                return


def _check_known(persister: StateMachinePersister, id: str, *, once: bool) -> None:
    """Say of a state that there is not that it may still come.

    Raises:
        StateNotFoundError: there is none, and only what there is now is asked for.
    """
    from eventstate.cli.hints import hinting
    from eventstate.cli.output import note
    from eventstate.errors import EventStateError, StateNotFoundError

    try:
        with hinting(persister, id):
            persister.load(id)
    except StateNotFoundError:
        if once:
            raise
        note(f"there is no state {id!r} yet")
    except EventStateError:
        pass  # deleted, damaged or newer: its events are shown as far as they can be read


def _record(delivery: Delivery) -> dict[str, Any]:
    from eventstate.cli.records import instant, metadata_record

    record: dict[str, Any] = {
        "governor": delivery.governor,
        "state_id": delivery.state_id,
        "version": delivery.version,
        "position": delivery.position,
        "action": delivery.action,
        "data": delivery.data,
    }
    if delivery.action:
        record["timestamp"] = instant(delivery.timestamp)
        record["metadata"] = metadata_record(delivery.metadata)
    problem = delivery.problem
    if problem is not None:
        record["problem"] = str(problem)
    return record


def _show(lines: Lines, delivery: Delivery, with_governor: bool) -> None:
    from eventstate.cli.output import compact
    from eventstate.cli.records import instant

    where = f"{delivery.governor}/{delivery.state_id}" if with_governor else delivery.state_id
    problem = delivery.problem
    if not delivery.action:
        lines.show(f"{where} {delivery.version}: {problem}", is_bad=True)
        return
    time = (instant(delivery.timestamp) or "")[11:23]
    by = f"by {delivery.metadata.changed_by} " if delivery.metadata.changed_by else ""
    told = f"{by}{compact(delivery.data)}{f' ({problem})' if problem is not None else ''}"
    lines.show(time, where, str(delivery.version), delivery.action, told, is_bad=problem is not None)
