"""``eventstate prune``: let old events go."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.cli.session import Access
    from eventstate.core.retention import RetentionPolicy
    from eventstate.log.pruning import PruneCount, PruneReport
    from eventstate.stores.base import Store


def prune(
    options: Globals,
    max_age: Annotated[
        str | None, typer.Option("--max-age", metavar="AGE", help="Events older than this may go: 90d, 12h, 2w.")
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="N", min=1, help="The last N events of each state stay.")
    ] = None,
    keep_snapshots: Annotated[
        int | None,
        typer.Option("--keep-snapshots", metavar="N", min=1, help="Events since the Nth newest snapshot stay."),
    ] = None,
    machine: Annotated[
        list[str] | None, typer.Option("--machine", metavar="NAME", help="Only states of this machine. Repeatable.")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="FILE", help="Rules by machine, in TOML, instead of these options."),
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", metavar="FOLDER", help="Where events go before they are deleted.")
    ] = None,
    no_archive: Annotated[bool, typer.Option("--no-archive", help="Delete them for good.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and do nothing.")] = False,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Then give free space of a SQLite file back.")] = False,
) -> int | None:
    """Archive and delete events that the rules let go; states, and what stays, remain as they are.

    An event goes only if every rule given lets it go; the last entry of each state stays, and so does what is pinned
    ('eventstate pins'). Others can go on writing. A run that was killed is ended by the next one.

    Exit code 1 if states had to be left as they are.
    """
    from eventstate.cli.urls import refuse_store_files
    from eventstate.errors import ConfigurationError

    refuse_store_files(options, policy)
    default, machines = _policies(max_age, keep_last, keep_snapshots, machine, policy)
    if not dry_run and (archive is None) == (not no_archive):
        raise ConfigurationError("say where the events go: --archive FOLDER, or --no-archive to delete them for good")
    started = time.monotonic()
    report, sizes = _run(options, default, machines, archive, dry_run=dry_run, vacuum=vacuum)
    _print(options, report, sizes, time.monotonic() - started, dry_run=dry_run)
    return ExitCode.FINDING if report.problem_count else None


def _policies(
    max_age: str | None, keep_last: int | None, keep_snapshots: int | None, machine: list[str] | None, file: Path | None
) -> tuple[RetentionPolicy | None, dict[str, RetentionPolicy]]:
    from eventstate.cli.policies import parse_age, read_policies
    from eventstate.core.retention import RetentionPolicy
    from eventstate.errors import ConfigurationError

    rules = (max_age, keep_last, keep_snapshots)
    if file is not None:
        if any(rule is not None for rule in rules) or machine:
            raise ConfigurationError("pass --policy or rules, not both")
        return read_policies(file)
    if all(rule is None for rule in rules):
        raise ConfigurationError("which events may go? Pass --max-age, --keep-last, --keep-snapshots or --policy")
    age = parse_age(max_age) if max_age is not None else None
    made = RetentionPolicy(max_age=age, keep_last=keep_last, keep_snapshots=keep_snapshots)
    return (None, dict.fromkeys(machine, made)) if machine else (made, {})


def _run(
    options: Globals,
    default: RetentionPolicy | None,
    machines: dict[str, RetentionPolicy],
    archive: Path | None,
    *,
    dry_run: bool,
    vacuum: bool,
) -> tuple[PruneReport, tuple[int, int] | None]:
    from eventstate.cli.machines import load_machines
    from eventstate.cli.output import counter
    from eventstate.cli.session import keyring, opened
    from eventstate.machines.retention_manager import RetentionManager
    from eventstate.stores.directory import DirectoryArchive

    declared = load_machines(options.machines)
    access: Access = "read" if dry_run else "write"
    with opened(options, access) as store, keyring(options, access) as keys, counter() as shown:
        task = shown.add_task("planning" if dry_run else "pruning", total=None)

        def advance(report: PruneReport) -> None:
            shown.update(task, completed=report.total.streams)

        manager = RetentionManager(
            store,
            governor=options.resolved_governor,
            machines=declared,
            keyring=keys,
            archive=DirectoryArchive(archive) if archive is not None else None,
        )
        call = manager.plan if dry_run else manager.prune
        report = call(default, machines=machines, progress=advance)
        sizes = _vacuumed(options, store) if vacuum and not dry_run else None
    return report, sizes


def _vacuumed(options: Globals, store: Store) -> tuple[int, int]:
    """Bytes of the file before and after."""
    from eventstate.cli.urls import needed_sqlite_file
    from eventstate.runtime.blocking import drive
    from eventstate.stores.sqlite.store import SqliteStore

    path = needed_sqlite_file(options.resolved_url, "prune --vacuum")
    assert isinstance(store, SqliteStore)
    before = _size(path)
    drive(store.vacuum())
    return before, _size(path)


def _size(path: Path) -> int:
    size = 0
    for suffix in ("", "-wal"):
        with suppress(OSError):
            size += path.with_name(path.name + suffix).stat().st_size
    return size


def _print(
    options: Globals, report: PruneReport, sizes: tuple[int, int] | None, seconds: float, *, dry_run: bool
) -> None:
    from eventstate.cli.output import note, print_json, print_table, print_text

    total = report.total
    if options.as_json:
        print_json(_record(report, sizes, seconds, dry_run=dry_run))
        return
    names = sorted(report.by_machine)
    rows = [_row(name or "(none)", report.by_machine[name]) for name in names]
    goes = "would go" if dry_run else "gone"
    columns = ("machine", "states", "events", goes, "bytes", "held")
    print_table(columns, [*rows, _row("all", total)] if len(rows) > 1 else rows, right=columns[1:])
    for pin, count in sorted(report.held_by.items()):
        print_text(f"{count:,} states are held by {pin}")
    if not total.pruned_events:
        print_text(_nothing(options, total))
    if not dry_run:
        print_text(f"{report.packs:,} packs archived, {report.deleted_entries:,} entries deleted in {seconds:.1f} s")
    if sizes is not None:
        print_text(f"the file had {sizes[0]:,} bytes and has {sizes[1]:,}")
    if report.problems:
        print_table(("left as it is", "problem"), [(found.state_id, found.problem) for found in report.problems])
    if report.problem_count > len(report.problems):
        note(f"and {report.problem_count - len(report.problems):,} more")


def _nothing(options: Globals, total: PruneCount) -> str:
    """Why nothing goes."""
    if not total.streams:
        return f"there are no states of governor {options.resolved_governor!r}"
    if total.held_streams:
        return "nothing can go now: what the rules let go is held ('eventstate pins'), or had to be left as it is"
    return "nothing can go now: the rules keep every event, and the last entry of each state stays in any case"


def _row(name: str, count: PruneCount) -> tuple[str, ...]:
    numbers = (count.streams, count.events, count.pruned_events, count.pruned_bytes, count.held_streams)
    return (name, *(f"{number:,}" for number in numbers))


def _record(report: PruneReport, sizes: tuple[int, int] | None, seconds: float, *, dry_run: bool) -> dict[str, Any]:
    from dataclasses import asdict

    record: dict[str, Any] = {
        "dry_run": dry_run,
        **asdict(report.total),
        "by_machine": {name: asdict(count) for name, count in sorted(report.by_machine.items())},
        "held_by": report.held_by,
        "packs": report.packs,
        "deleted_entries": report.deleted_entries,
        "problem_count": report.problem_count,
        "problems": [asdict(problem) for problem in report.problems],
        "seconds": round(seconds, 3),
    }
    if sizes is not None:
        record["bytes_before"], record["bytes_after"] = sizes
    return record
