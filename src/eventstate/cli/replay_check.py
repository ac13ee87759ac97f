"""``eventstate replay-check``: today's code against recorded histories."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.log.replaying import Divergence, ReplayReport


def replay_check(
    options: Globals,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="State ids that begin so.")] = "",
    transitions: Annotated[
        bool, typer.Option("--transitions", help="Hold every event against the declared transitions too.")
    ] = False,
    accept_raised: Annotated[
        bool,
        typer.Option("--accept-raised", help="States recorded under another fold_version may differ: exit code 0."),
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, metavar="N", help="Show at most so many; all are counted.")
    ] = 100,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FILE", help="Keep the place in this file, and go on from it when run again."),
    ] = None,
) -> int:
    """Fold every recorded history with the machines of --machines, and name each version that comes out differently.

    Compared are the recorded states: in heads, in snapshots, and in events that carry data and a state. Events that
    can't be folded any more are named in any case. Exit code 1 if there is a difference. Nothing is written.
    """
    from eventstate.cli.output import counter
    from eventstate.cli.resuming import ResumeFile
    from eventstate.cli.travelling import time_travel
    from eventstate.cli.urls import refuse_store_files
    from eventstate.log.replaying import ReplayReport

    started = time.monotonic()
    asked = [options.resolved_url, options.resolved_governor, prefix, transitions, *options.machines]
    refuse_store_files(options, resume)
    kept = ResumeFile(resume, "replay check", asked, _restored) if resume is not None else None
    report = (kept.read() if kept is not None else None) or ReplayReport(keep=limit)
    with time_travel(options, "read") as travel, counter() as shown:
        task = shown.add_task("replaying streams", total=None)

        def advance(so_far: ReplayReport) -> None:
            shown.update(task, completed=so_far.streams)
            if kept is not None:
                kept.write(so_far)

        travel.replay_check(prefix=prefix, resume=report, judge_transitions=transitions, progress=advance)
    if kept is not None:
        kept.remove()
    _show(report, time.monotonic() - started, as_json=options.as_json)
    accepted = report.declared if accept_raised else 0
    return ExitCode.FINDING if report.total_divergences > accepted else ExitCode.OK


def _restored(plain: dict[str, Any]) -> ReplayReport:
    from eventstate.core.differences import Difference
    from eventstate.log.replaying import Divergence, ReplayReport

    report = ReplayReport(**plain)
    report.divergences = []
    for found in plain["divergences"]:
        changes = [Difference(*change) for change in found.pop("changes")]
        report.divergences.append(Divergence(changes=changes, **found))
    return report


def _show(report: ReplayReport, seconds: float, *, as_json: bool) -> None:
    from eventstate.cli.output import count, note, print_json, print_text

    if as_json:
        print_json(
            {
                "is_same": report.is_same,
                "streams": report.streams,
                "events": report.events,
                "compared": report.compared,
                "incomparable": report.incomparable,
                "without_machine": report.without_machine,
                "total_divergences": report.total_divergences,
                "declared": report.declared,
                "seconds": round(seconds, 3),
                "divergences": [divergence_record(divergence) for divergence in report.divergences],
            }
        )
        return
    outcome = "all as recorded" if report.is_same else f"{report.total_divergences:,} come out differently"
    print_text(
        f"{count(report.events, 'event')} of {count(report.streams, 'stream')} folded,"
        f" {count(report.compared, 'recorded state')} compared"
        f" in {seconds:.2f} s: {outcome}"
    )
    for divergence in report.divergences:
        _print(divergence)
    if report.total_divergences > len(report.divergences):
        note(f"{report.total_divergences - len(report.divergences):,} more are not shown: --limit")
    if report.without_machine:
        note(f"{report.without_machine:,} typed streams were not folded: pass their machines by --machines")
    if report.incomparable:
        note(f"{report.incomparable:,} recorded states have a schema that is not declared: they were not compared")


def _print(divergence: Divergence) -> None:
    from eventstate.cli.diff import shown_changes
    from eventstate.cli.output import print_text

    raised = ""
    if divergence.is_declared:
        raised = f" (recorded under fold_version {divergence.recorded_fold}, now {divergence.fold})"
    print_text(f"{divergence.state_id} version {divergence.version:,}: {divergence.problem}{raised}")
    for line in shown_changes(divergence.changes):
        print_text(f"  {line}")


def divergence_record(divergence: Divergence) -> dict[str, Any]:
    """The shape of a divergence in ``--json``."""
    return {
        "state_id": divergence.state_id,
        "version": divergence.version,
        "kind": divergence.kind,
        "problem": divergence.problem,
        "recorded_in": divergence.recorded_in,
        "recorded_fold": divergence.recorded_fold,
        "fold": divergence.fold,
        "is_declared": divergence.is_declared,
        "changes": [change._asdict() for change in divergence.changes],
    }
