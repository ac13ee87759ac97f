"""``eventstate verify``: prove that everything is as it was written."""

from __future__ import annotations

import time

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals


def verify(options: Globals) -> int:
    """Check every stream: its chain of digests, its head, its snapshots, and its states against a replay.

    The first bad place of each stream is named. Exit code 1 if there is one. States of typed streams are
    replayed only with their machines: --machines.
    """
    from eventstate.cli.output import counter, print_json, print_table, print_text
    from eventstate.cli.session import persister
    from eventstate.log.verify import ConsistencyReport

    started = time.monotonic()
    with persister(options, "read") as opened, counter() as shown:
        task = shown.add_task("verifying streams", total=None)

        def advance(report: ConsistencyReport) -> None:
            shown.update(task, completed=report.total_streams)

        report = opened.validate_consistency(progress=advance)
    seconds = time.monotonic() - started
    code = ExitCode.OK if report.is_consistent else ExitCode.FINDING
    findings = [{"state_id": f.state_id, "where": f.where, "problem": f.problem} for f in report.findings]
    if options.as_json:
        totals = {"streams": report.total_streams, "events": report.total_events, "snapshots": report.total_snapshots}
        print_json(
            {"is_consistent": report.is_consistent, **totals, "seconds": round(seconds, 3), "findings": findings}
        )
        return code
    print_text(
        f"{report.total_streams:,} streams, {report.total_events:,} events and {report.total_snapshots:,} snapshots"
        f" in {seconds:.2f} s: {'all as written' if report.is_consistent else f'{len(findings):,} findings'}"
    )
    if findings:
        print_table(("state", "first bad place", "problem"), [tuple(finding.values()) for finding in findings])
    return code
