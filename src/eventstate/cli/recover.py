"""``eventstate recover``: what a service does when it starts."""

from __future__ import annotations

import time

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals


def recover(options: Globals) -> int:
    """Bring every state back, from its head or else from its log, and write bad heads anew.

    Exit code 1 if a state is lost: neither its head nor its log gives it.
    """
    from eventstate.cli.output import counter, note, print_fields, print_json
    from eventstate.cli.session import persister
    from eventstate.machines.reports import RecoveryReport

    report = RecoveryReport()
    started = time.monotonic()
    with persister(options, "write") as opened, counter() as shown:
        task = shown.add_task("recovering", total=None)
        for item in opened.recover():
            report.count(item)
            shown.update(task, advance=1)
    seconds = time.monotonic() - started
    totals = {
        "total": report.total,
        "current": report.current,
        "rebuilt": report.rebuilt,
        "deleted": report.deleted,
        "lost": report.lost,
    }
    if options.as_json:
        print_json({**totals, "seconds": round(seconds, 3), "problems": report.problems})
    else:
        print_fields([*((name, f"{count:,}") for name, count in totals.items()), ("seconds", f"{seconds:.2f}")])
        for problem in report.problems:
            note(problem)
    return ExitCode.FINDING if report.lost else ExitCode.OK
