"""``eventstate stats``: numbers of one governor."""

from __future__ import annotations

import dataclasses

from eventstate.cli.options import Globals


def stats(options: Globals) -> None:
    """How many states, events and snapshots there are."""
    from eventstate.cli.output import print_fields, print_json
    from eventstate.cli.session import persister

    with persister(options, "read") as opened:
        found = dataclasses.asdict(opened.get_stats())
    if options.as_json:
        print_json({"governor": options.resolved_governor, **found})
        return
    by_machine: dict[str, int] = found.pop("states_by_machine")
    fields = [("governor", options.resolved_governor)]
    fields += [(name.replace("_", " "), f"{value:,}") for name, value in found.items()]
    fields += [
        (f"machine {name!r}" if name else "no machine", f"{count:,}") for name, count in sorted(by_machine.items())
    ]
    print_fields(fields)
