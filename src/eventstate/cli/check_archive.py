"""``eventstate check-archive``: prove an archive."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals


def check_archive(
    options: Globals,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where 'eventstate prune' has put old events.")],
) -> int | None:
    """Read an archive, and prove that all that was pruned into it can be read from it as it was.

    Exit code 1 if not.
    """
    from dataclasses import asdict

    from eventstate.cli.output import counter, print_json, print_table, print_text
    from eventstate.cli.session import opened
    from eventstate.log.archive_check import ArchiveReport
    from eventstate.machines.retention_manager import RetentionManager
    from eventstate.stores.directory import DirectoryArchive

    started = time.monotonic()
    with opened(options, "read") as store, counter() as shown:
        task = shown.add_task("checking streams", total=None)

        def advance(report: ArchiveReport) -> None:
            shown.update(task, completed=report.streams)

        manager = RetentionManager(store, governor=options.resolved_governor, archive=DirectoryArchive(folder))
        report = manager.check_archive(progress=advance)
    seconds = time.monotonic() - started
    if options.as_json:
        print_json({"is_complete": report.is_complete, **asdict(report), "seconds": round(seconds, 3)})
    else:
        verdict = f"findings: {len(report.findings):,}" if report.findings else "all as it was"
        print_text(f"packs {report.packs:,}, pruned states {report.streams:,}, events {report.events:,}: {verdict}")
        if report.partial_streams:
            print_text(f"begin later, pruned without it or a pack is lost: {report.partial_streams:,} states")
        if report.findings:
            rows = [(found.state_id, found.where, found.problem) for found in report.findings]
            print_table(("state", "where", "problem"), rows)
    return None if report.is_complete else ExitCode.FINDING
