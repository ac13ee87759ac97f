"""``eventstate watch``: what happens to jobs, as it happens."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.jobs import JOBS_GOVERNOR
from eventstate.cli.options import MAX_LIMIT, Globals

if TYPE_CHECKING:
    from eventstate.machines.deliveries import Delivery


def watch(
    options: Globals,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this job.")] = None,
    start: Annotated[str, typer.Option("--from", metavar="PLACE", help="'now', 'beginning', or a position.")] = "now",
    once: Annotated[bool, typer.Option("--once", help="End when everything there is now has been shown.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="End after so many events.")
    ] = None,
) -> None:
    """What happens to jobs, a line each, until interrupted. With --json one object per line."""
    from eventstate.cli.output import note, print_json, print_text
    from eventstate.cli.session import opened
    from eventstate.jobs.job import JOBS
    from eventstate.machines.deliveries import CaughtUp
    from eventstate.machines.persister import StateMachinePersister
    from eventstate.machines.subscription import Subscription

    shown = 0
    with opened(options, "read") as store:
        persister = StateMachinePersister(store, governor=options.governor or JOBS_GOVERNOR, machines=[JOBS])
        with Subscription(
            persister,
            state_id=None if id is None else JOBS.state_id(id),
            machines=[JOBS.name] if id is None else None,
            start=int(start) if start.isdecimal() else start,
        ) as subscription:
            for item in subscription.marked(until_caught_up=once):
                if isinstance(item, CaughtUp):
                    if not once and not options.as_json:
                        note("caught up; waiting for what comes (Ctrl-C ends)")
                    continue
                print_json(_record(item)) if options.as_json else print_text(_line(item))
                sys.stdout.flush()
                shown += 1
                if shown == limit:
                    return


def _record(delivery: Delivery) -> dict[str, Any]:
    from eventstate.cli.records import instant

    return {
        "job_id": delivery.state_id.partition("-")[2],
        "event": delivery.action,
        "version": delivery.version,
        "position": delivery.position,
        "timestamp": instant(delivery.timestamp),
        **_members(delivery),
    }


def _members(delivery: Delivery) -> dict[str, Any]:
    """What the event says, without what it does not."""
    told = delivery.event
    plain = asdict(told) if hasattr(told, "__dataclass_fields__") else {}
    return {name: value for name, value in plain.items() if value not in (None, "", [], {}) and name != "at"}


def _line(delivery: Delivery) -> str:
    from eventstate.cli.output import compact
    from eventstate.cli.records import instant

    time = (instant(delivery.timestamp) or "")[11:23]
    members = {name: value for name, value in _members(delivery).items() if name not in ("spec", "result", "request")}
    told = " ".join(f"{name}={value if isinstance(value, str) else compact(value)}" for name, value in members.items())
    return f"{time} {delivery.state_id.partition('-')[2]} {delivery.action} {told}".rstrip()
