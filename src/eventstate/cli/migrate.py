"""``eventstate migrate``: bring the stored documents of jobs to a later schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.jobs.migrations.migrating import MigrationReport


def migrate(
    options: Globals,
    target: Annotated[
        int | None, typer.Option("--target", metavar="N", help="The version to bring them to; by default the newest.")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="Only this job.")] = None,
    steps: Annotated[
        list[str] | None,
        typer.Option("--steps", metavar="MODULE:NAME", help="Your own Migration, or a list of them. Repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most so many jobs; 0 for all.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be changed, and do nothing.")] = False,
) -> None:
    """Bring the documents of jobs, as their tasks report into them, to a later version.

    A run that was killed is gone on with by the next one; no document is changed twice. Jobs of a version that is newer
    than all steps are refused.
    """
    report = _run(options, target, job, steps or [], limit, dry_run=dry_run)
    _print(options, report)


def _run(
    options: Globals, target: int | None, job: str | None, steps: list[str], limit: int, *, dry_run: bool
) -> MigrationReport:
    from eventstate.cli.machines import load_migrations
    from eventstate.cli.output import counter
    from eventstate.cli.session import opened
    from eventstate.jobs.migrations.job_migrator import JobMigrator

    own = load_migrations(steps)
    with opened(options, "read" if dry_run else "write") as store, counter() as shown:
        task = shown.add_task("planning" if dry_run else "migrating", total=None)

        def advance(report: MigrationReport) -> None:
            shown.update(task, completed=report.jobs)

        migrator = JobMigrator(store, own)
        call = migrator.plan if dry_run else migrator.migrate
        return call(job, target=target, limit=limit, progress=advance)


def _print(options: Globals, report: MigrationReport) -> None:
    from eventstate.cli.output import count, print_json, print_text

    if options.as_json:
        print_json(_record(report))
        return
    done = "would be brought" if report.dry_run else "brought"
    print_text(f"{count(report.migrated, 'job')} {done} to version {report.target}")
    print_text(f"{count(report.current, 'job')} of it already, {count(report.deleted, 'job')} deleted")
    for version, jobs in sorted(report.by_version.items()):
        print_text(f"step to version {version}: {count(jobs, 'job')}")
    print_text(f"{report.statuses:,} changes of statuses")


def _record(report: MigrationReport) -> dict[str, Any]:
    return {
        "dry_run": report.dry_run,
        "target": report.target,
        "jobs": report.jobs,
        "migrated": report.migrated,
        "current": report.current,
        "deleted": report.deleted,
        "statuses": report.statuses,
        "by_version": {str(version): jobs for version, jobs in sorted(report.by_version.items())},
    }
