"""``eventstate watch``: what happens to jobs, as it happens."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import MAX_LIMIT, Globals
from eventstate.cli.places import From, parse_place

if TYPE_CHECKING:
    from eventstate.machines.deliveries import Delivery
    from eventstate.stores.base import Store


def watch(
    options: Globals,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this job.")] = None,
    start: From = "now",
    lines: Annotated[bool, typer.Option("--lines", help="A line each, also on a terminal.")] = False,
    once: Annotated[bool, typer.Option("--once", help="End when everything there is now has been shown.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="End after so many events.")
    ] = None,
) -> None:
    """What happens to jobs, until interrupted: on a terminal a table of how things are, otherwise a line each.

    The table is of all jobs, runs and orchestrations; its ends are those since --from. There are lines on a terminal
    too with an ID, --lines, --once or --limit. With --json one object per line.
    """
    from eventstate.cli.output import console
    from eventstate.cli.session import opened

    place = parse_place(start)
    shown = console()
    wants_lines = lines or once or options.as_json or id is not None or limit is not None
    with opened(options, "read") as store:
        if wants_lines or not shown.is_interactive or shown.is_dumb_terminal:
            _show_lines(options, store, id, place, once=once, limit=limit)
        else:
            from eventstate.cli.interrupting import interrupted_by_signals
            from eventstate.cli.live.screen import LiveTable

            with interrupted_by_signals():
                LiveTable(store, options.jobs_governor, place).show(shown)


def _show_lines(
    options: Globals, store: Store, id: str | None, start: int | str, *, once: bool, limit: int | None
) -> None:
    from eventstate.cli.lines import Lines
    from eventstate.cli.output import note, print_json
    from eventstate.jobs.job import JOBS
    from eventstate.machines.deliveries import CaughtUp
    from eventstate.machines.persister import StateMachinePersister
    from eventstate.machines.subscription import Subscription

    shown = 0
    lines = Lines(("dim", "cyan", "bold", ""))
    if id is not None:
        _check_known(options, store, id, once=once)
    persister = StateMachinePersister(store, governor=options.jobs_governor, machines=[JOBS])
    with Subscription(
        persister,
        state_id=None if id is None else JOBS.state_id(id),
        machines=[JOBS.name] if id is None else None,
        start=start,
    ) as subscription:
        for item in subscription.marked(until_caught_up=once):
            if isinstance(item, CaughtUp):
                if not once and not options.as_json:
                    note("caught up; waiting for what comes (Ctrl-C ends)")
                continue
            print_json(_record(item)) if options.as_json else lines.show(*_cells(item))
            sys.stdout.flush()
            shown += 1
            if shown == limit:
                return


def _check_known(options: Globals, store: Store, id: str, *, once: bool) -> None:
    """Say of a job that there is not that it may still come.

    Raises:
        JobNotFoundError: there is none, and only what there is now is asked for.
    """
    from eventstate.cli.output import note
    from eventstate.errors import JobNotFoundError
    from eventstate.jobs.runs.job_state_store import JobStateStore

    jobs = JobStateStore(store=store, governor=options.jobs_governor)
    if jobs.get_job_status(id) == "not_found":
        if once:
            raise JobNotFoundError(governor=jobs.governor, job_id=id)
        note(f"there is no job {id!r} yet")


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


def _cells(delivery: Delivery) -> tuple[str, ...]:
    from eventstate.cli.output import compact
    from eventstate.cli.records import instant

    time = (instant(delivery.timestamp) or "")[11:23]
    members = {name: value for name, value in _members(delivery).items() if name not in ("spec", "result", "request")}
    told = " ".join(f"{name}={value if isinstance(value, str) else compact(value)}" for name, value in members.items())
    return time, delivery.state_id.partition("-")[2], delivery.action, told
