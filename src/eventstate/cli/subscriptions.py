"""``eventstate subscriptions``, ``subscription parked``, ``subscription delete``: who reads, and how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.log.survey import SubscriptionStatus

Name = Annotated[str, typer.Argument(metavar="NAME", help="'eventstate subscriptions' lists them.")]


def subscriptions(options: Globals) -> None:
    """The saved subscriptions of the governor: what they read, how far behind they are, and what they have parked.

    With --json one object per line.
    """
    from eventstate.cli.output import print_json, print_table
    from eventstate.cli.records import instant
    from eventstate.cli.session import opened
    from eventstate.core.instants import utc_of
    from eventstate.log.survey import subscription_statuses
    from eventstate.runtime.blocking import drive

    with opened(options, "read") as store:
        found = drive(subscription_statuses(store, options.resolved_governor))
    if options.as_json:
        for status in found:
            print_json({**_record(status), "saved_at": instant(utc_of(status.saved_at))})
        return
    rows = [
        (
            status.definition.name,
            _scope(status),
            "" if status.place.position is None else f"{status.place.position:,}",
            f"{status.behind:,}",
            f"{status.parked:,}",
            "shared" if status.definition.partitions > 1 else "",
        )
        for status in found
    ]
    columns = ("subscription", "reads", "position", "behind", "parked", "")
    print_table(columns, rows, right=("position", "behind", "parked"))


def show_parked(options: Globals, name: Name) -> None:
    """The events that a subscription has set aside, since its handler failed at them.

    `Subscription.replay_parked` tries them again. With --json one object per line.
    """
    from eventstate.cli.output import print_json, print_table
    from eventstate.cli.session import opened
    from eventstate.log.survey import parked_by, saved_definition
    from eventstate.runtime.blocking import drive

    with opened(options, "read") as store:
        definition = drive(saved_definition(store, options.resolved_governor, name))
        found = drive(parked_by(store, definition))
    if options.as_json:
        for parked in found:
            print_json(parked._asdict())
        return
    rows = [(item.governor, item.state_id, f"{item.version:,}", str(item.attempts), item.problem) for item in found]
    print_table(("governor", "state", "version", "attempts", "problem"), rows, right=("version", "attempts"))


def delete_subscription(
    options: Globals,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int | None:
    """Forget the place of a subscription and what it has parked: the next one of its name begins anew."""
    from eventstate.cli.output import note, print_json, print_text
    from eventstate.cli.session import opened
    from eventstate.log.positions import delete_saved
    from eventstate.log.survey import saved_definition
    from eventstate.runtime.blocking import drive

    with opened(options, "write") as store:
        definition = drive(saved_definition(store, options.resolved_governor, name))
        if not yes and not typer.confirm(f"Forget the place of {name!r} and what it has parked?", err=True):
            note("nothing was done")
            return ExitCode.INTERRUPTED
        drive(delete_saved(store, definition))
    print_json({"deleted": name}) if options.as_json else print_text(f"subscription {name!r} is forgotten")
    return None


def _record(status: SubscriptionStatus) -> dict[str, Any]:
    definition = status.definition
    return {
        "name": definition.name,
        **definition.members(),
        "place": str(status.place),
        "behind": status.behind,
        "parked": status.parked,
    }


def _scope(status: SubscriptionStatus) -> str:
    selection = status.definition.selection
    parts = ["all governors"] if selection.governor is None else []
    if selection.state_id is not None:
        parts.append(selection.state_id)
    if selection.machines is not None:
        parts.append("machines " + ", ".join(sorted(selection.machines)))
    if selection.actions is not None:
        parts.append("actions " + ", ".join(sorted(selection.actions)))
    return "; ".join(parts) or "everything"
