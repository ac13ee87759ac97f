"""``eventstate keys``: the subjects of a keyring, and new keys for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.log.keyring import SubjectInfo


def keys(
    options: Globals,
    rotate: Annotated[
        str | None, typer.Option("--rotate", metavar="SUBJECT", help="Give a subject a new key, for what comes after.")
    ] = None,
) -> None:
    """The subjects of the keyring, how many keys each has, and when and why those were erased that are.

    Never shows a key. With --json one object per line.
    """
    from eventstate.cli.output import print_json, print_table, print_text
    from eventstate.cli.session import needed_keyring

    with needed_keyring(options, "read" if rotate is None else "write") as keyring:
        if rotate is not None:
            id = keyring.rotate(rotate)
            if options.as_json:
                print_json({"subject": rotate, "key_id": id})
            else:
                print_text(f"{rotate}: new data is encrypted under key {id} from now on")
            return
        found = [record(info) for info in keyring.subjects()]
    if options.as_json:
        for item in found:
            print_json(item)
        return
    rows = [
        (
            item["subject"] or "(erased)",
            str(len(item["key_ids"])),
            item["since"],
            item["erased_at"] or "",
            item["reason"] or "",
        )
        for item in found
    ]
    print_table(("subject", "keys", "since", "erased", "reason"), rows, right=("keys",))


def record(info: SubjectInfo) -> dict[str, Any]:
    """What is shown of a subject."""
    return {
        "subject": info.subject,
        "key_ids": info.key_ids,
        "since": info.since.isoformat(),
        "erased_at": info.erased_at.isoformat() if info.erased_at is not None else None,
        "reason": info.reason,
    }
