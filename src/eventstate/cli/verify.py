"""``eventstate verify``: prove that everything is as it was written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.log.verify import ConsistencyReport


def verify(
    options: Globals,
    seal: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A seal that was kept elsewhere; else the newest one in the store."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the progress in this file, and go on from it if it is there."),
    ] = None,
) -> int:
    """Check every stream: its chain of digests, its head, its snapshots, its states against a replay, and a seal.

    The first bad place of each stream is named. Exit code 1 if there is one. States of typed streams are
    replayed only with their machines: --machines.
    """
    from eventstate.cli.output import counter, print_json, print_table, print_text
    from eventstate.cli.resuming import ResumeFile
    from eventstate.cli.session import persister
    from eventstate.cli.urls import refuse_store_files
    from eventstate.log.sealing.files import SealFile

    refuse_store_files(options, seal, resume)
    started = time.monotonic()
    exported = SealFile.read(seal) if seal is not None else None
    digest = exported.seal.digest if exported is not None else None
    subject = {"url": options.resolved_url, "governor": options.resolved_governor, "seal": digest}
    kept = ResumeFile(resume, "verification", subject, _restored) if resume is not None else None
    with persister(options, "read") as opened, counter() as shown:
        task = shown.add_task("verifying streams", total=None)

        def advance(report: ConsistencyReport) -> None:
            if kept is not None:
                kept.write(report)
            shown.update(task, completed=report.total_streams)

        earlier = kept.read() if kept is not None else None
        report = opened.validate_consistency(progress=advance, seal=exported, resume=earlier)
    if kept is not None:
        kept.remove()
    seconds = time.monotonic() - started
    if options.as_json:
        print_json(_record(report, seconds))
    else:
        print_text(_summary(report, seconds))
        if report.findings:
            rows = [(finding.state_id, finding.where, finding.problem) for finding in report.findings]
            print_table(("state", "first bad place", "problem"), rows)
    return ExitCode.OK if report.is_consistent else ExitCode.FINDING


def _restored(plain: dict[str, Any]) -> ConsistencyReport:
    from eventstate.log.verify import ConsistencyReport, Finding

    report = ConsistencyReport(**plain)
    report.findings = [Finding(**finding) for finding in plain["findings"]]
    return report


def _record(report: ConsistencyReport, seconds: float) -> dict[str, Any]:
    return {
        "is_consistent": report.is_consistent,
        "streams": report.total_streams,
        "events": report.total_events,
        "snapshots": report.total_snapshots,
        "seal": report.seal,
        "sealed": report.sealed_streams,
        "pruned": report.pruned_streams,
        "seconds": round(seconds, 3),
        "findings": [{"state_id": f.state_id, "where": f.where, "problem": f.problem} for f in report.findings],
        "unlisted": report.unlisted_findings,
    }


def _summary(report: ConsistencyReport, seconds: float) -> str:
    from eventstate.cli.output import count

    findings = len(report.findings) + report.unlisted_findings
    verdict = "all as written" if report.is_consistent else count(findings, "finding")
    text = (
        f"{count(report.total_streams, 'stream')}, {count(report.total_events, 'event')} and"
        f" {count(report.total_snapshots, 'snapshot')} in {seconds:.2f} s: {verdict}"
    )
    if report.seal is None:
        return text
    pruned = f", {report.pruned_streams:,} of them pruned since" if report.pruned_streams else ""
    return f"{text}\n{count(report.sealed_streams, 'stream')} held against seal {report.seal}{pruned}"
