"""``eventstate erase``: destroy the keys of a person."""

from __future__ import annotations

from typing import Annotated

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals


def erase(
    options: Globals,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Whose data; 'eventstate keys' lists them.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept, and shown with each erased event.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int | None:
    """Destroy the keys of a subject for good: all that is encrypted under them can't be read any more, by anybody.

    The events stay where they are, and their chains and seals stay right. A SQLite keyring is written anew afterwards,
    so that its files do not hold the keys either. Copies of the keyring are yours to destroy.
    """
    from eventstate.cli.keys import record
    from eventstate.cli.output import count, note, print_json, print_text
    from eventstate.cli.session import needed_keyring

    with needed_keyring(options, "write") as keyring:
        if keyring.info(subject).erased_at is None and not yes and not _is_sure(subject):
            note("nothing was done")
            return ExitCode.INTERRUPTED
        info = keyring.erase(subject, reason)
        keyring.purge()
    if options.as_json:
        print_json(record(info))
    else:
        print_text(f"erased at {info.erased_at}: {count(len(info.key_ids), 'key')} destroyed")
    return None


def _is_sure(subject: str) -> bool:
    return typer.confirm(f"Destroy the keys of {subject!r}? Nobody can undo that.", err=True)
