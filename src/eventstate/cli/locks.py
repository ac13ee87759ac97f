"""``eventstate locks`` and ``eventstate lock break``: who holds what, and ending it by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.transactions.locks import LockInfo


def locks(options: Globals) -> None:
    """The locks that are held, who has them, and for how long still.

    A lock whose time is up stays in the list until somebody takes it over or cleans up.

    With --json one object per line.
    """
    from eventstate.cli.output import print_json, print_table
    from eventstate.cli.session import opened
    from eventstate.transactions.lock_manager import LockManager

    with opened(options, "read") as store:
        found = list(LockManager(store, governor=options.resolved_governor).list_locks())
    if options.as_json:
        for info in found:
            print_json(_record(info))
        return
    rows = [
        (info.resource, info.client_id, info.lock_token, _left(info), str(info.waiting), info.purpose or "")
        for info in found
    ]
    columns = ("resource", "held by", "token", "expires in", "waiting", "purpose")
    print_table(columns, rows, right=("expires in", "waiting"))


def break_lock(
    options: Globals,
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="What is locked; 'eventstate locks' lists them.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int | None:
    """End the hold on a lock, whoever has it.

    Its holder is not told, but nothing that it writes under the lock is accepted any more.
    """
    from eventstate.cli.output import note, print_json, print_text
    from eventstate.cli.session import opened
    from eventstate.transactions.lock_manager import LockManager

    with opened(options, "write") as store:
        manager = LockManager(store, governor=options.resolved_governor)
        if not yes:
            held = next((info for info in manager.list_locks() if info.resource == resource), None)
            if held is not None and not _is_sure(held):
                note("nothing was done")
                return ExitCode.INTERRUPTED
        broken = manager.break_lock(resource)
    if broken is None:
        note(f"nobody holds a lock on {resource!r} in governor {options.resolved_governor!r}")
        return ExitCode.NOT_FOUND
    if options.as_json:
        print_json(_record(broken))
    else:
        print_text(f"the lock of {broken.client_id!r} on {resource!r}, token {broken.lock_token}, is broken")
    return None


def _is_sure(held: LockInfo) -> bool:
    return typer.confirm(
        f"{held.client_id!r} holds {held.resource!r} (token {held.lock_token}, {_left(held)} left). Break it?", err=True
    )


def _left(info: LockInfo) -> str:
    return "expired" if info.is_expired else f"{info.expires_in:.1f} s"


def _record(info: LockInfo) -> dict[str, Any]:
    return {**info._asdict(), "acquired_at": info.acquired_at.isoformat(), "is_expired": info.is_expired}
