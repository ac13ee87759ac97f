"""``eventstate governors``: whose machines the store holds."""

from __future__ import annotations

from eventstate.cli.options import Globals


def governors(options: Globals) -> None:
    """The governors of the store."""
    from eventstate.cli.output import print_json, print_text
    from eventstate.cli.session import persister

    with persister(options, "read") as opened:
        found = opened.list_governors()
    if options.as_json:
        print_json({"governors": found})
        return
    for name in found:
        print_text(name)
