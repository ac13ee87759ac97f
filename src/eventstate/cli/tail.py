"""``eventstate tail``: what happens, as it happens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import MAX_LIMIT, Globals

if TYPE_CHECKING:
    from eventstate.machines.deliveries import Delivery


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
    from eventstate.cli.output import note, print_json, print_text
    from eventstate.cli.session import persister
    from eventstate.machines.deliveries import CaughtUp
    from eventstate.machines.subscription import Subscription

    shown = 0
    with (
        persister(options, "read") as opened,
        Subscription(
            opened,
            state_id=id,
            machines=machine or None,
            actions=action or None,
            all_governors=all_governors,
            start=int(start) if start.isdecimal() else start,
        ) as subscription,
    ):
        for item in subscription.marked(until_caught_up=once):
            if isinstance(item, CaughtUp):
                if options.as_json:
                    print_json({"caught_up": str(item.place)})
                elif not once:
                    note("caught up; waiting for what comes (Ctrl-C ends)")
            else:
                print_json(_record(item)) if options.as_json else print_text(_line(item, all_governors))
                shown += 1
            sys.stdout.flush()
            if shown == limit:
                return


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


def _line(delivery: Delivery, with_governor: bool) -> str:
    from eventstate.cli.output import compact
    from eventstate.cli.records import instant

    where = f"{delivery.governor}/{delivery.state_id}" if with_governor else delivery.state_id
    problem = delivery.problem
    if not delivery.action:
        return f"{where} {delivery.version}: {problem}"
    time = (instant(delivery.timestamp) or "")[11:23]
    by = delivery.metadata.changed_by
    text = f"{time} {where} {delivery.version} {delivery.action}{f' by {by}' if by else ''} {compact(delivery.data)}"
    return f"{text} ({problem})" if problem is not None else text
