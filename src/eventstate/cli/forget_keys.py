"""``eventstate forget-keys``: delete the records of old idempotency keys."""

from __future__ import annotations

from typing import Annotated

import typer

from eventstate.cli.options import Globals


def forget_keys(
    options: Globals,
    age: Annotated[str, typer.Argument(metavar="AGE", help="Keys older than this are refused from now on: 90d, 2w.")],
) -> None:
    """Refuse old idempotency keys from now on, and delete their records a day after that.

    Only keys that say when they were made, as 'timed_key' makes them, grow old; all others stay for good.
    """
    from eventstate.cli.output import print_json, print_text
    from eventstate.cli.policies import parse_age
    from eventstate.cli.session import opened
    from eventstate.machines.retention_manager import RetentionManager

    span = parse_age(age)
    with opened(options, "write") as store:
        deleted = RetentionManager(store, governor=options.resolved_governor).forget_keys(span)
    if options.as_json:
        print_json({"deleted": deleted})
    else:
        print_text(f"{deleted:,} records of idempotency keys deleted")
