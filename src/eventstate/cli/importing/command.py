"""``eventstate import FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.cli.importing.run import Outcome


def import_file(
    options: Globals,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv, .csv.gz, .jsonl or .jsonl.gz file.")],
    state_id: Annotated[str, typer.Option("--state-id", metavar="COLUMN", help="Names the stream of a row.")],
    action: Annotated[str, typer.Option("--action", metavar="COLUMN", help="What happened.")],
    time: Annotated[
        str | None,
        typer.Option("--time", metavar="COLUMN", help="When it happened: ISO 8601, UTC unless it says."),
    ] = None,
    changed_by: Annotated[str | None, typer.Option("--changed-by", metavar="COLUMN", help="Who did it.")] = None,
) -> None:
    """Append each row of a file as an event of the stream that it names.

    The state it records is its action and all columns that no option names. Rows keep their order. Run it
    again after a crash: it goes on where it stopped, and nothing is doubled or lost. Nothing is written if
    any row can't be imported. Declared machines do not judge the rows. Rows are stored as they are: those of
    a declared machine with subjects, which are to be encrypted, are refused.
    """
    from eventstate.cli.importing.columns import Columns, rows
    from eventstate.cli.importing.files import EventFile
    from eventstate.cli.importing.run import run_import
    from eventstate.cli.machines import load_machines
    from eventstate.cli.output import bar
    from eventstate.cli.session import opened
    from eventstate.cli.urls import is_new_file, refuse_memory, refuse_store_files
    from eventstate.machines.importing import Progress

    protected = [machine.name for machine in load_machines(options.machines) if machine.has_subjects]
    columns = Columns(state_id=state_id, action=action, time=time, changed_by=changed_by)
    refuse_store_files(options, file)
    source = EventFile(file)
    refuse_memory(options.resolved_url, "import")
    if is_new_file(options.resolved_url):  # a file with a bad row must not leave an empty store behind
        for _ in rows(source, columns, protected=protected):
            pass
    with opened(options, "create") as store, bar() as shown:
        task = shown.add_task("reading", total=None, rate="")

        def advance(done: Progress) -> None:
            if shown.tasks[0].total is None:
                shown.reset(task, description="importing", total=done.total, completed=done.rows)
            speed = shown.tasks[0].speed
            shown.update(task, completed=done.rows, rate=f"{speed:,.0f} rows/s" if speed else "")

        outcome = run_import(store, options.resolved_governor, source, columns, advance, protected)
    _print(options, file, outcome)


def _print(options: Globals, file: Path, outcome: Outcome) -> None:
    from eventstate.cli.output import count, print_json, print_text

    if options.as_json:
        print_json(
            {
                "file": str(file),
                "imported": outcome.imported,
                "skipped": outcome.skipped,
                "total": outcome.total,
                "streams": len(outcome.streams),
                "seconds": round(outcome.seconds, 3),
                "rows_per_second": round(outcome.rate),
            }
        )
    elif not outcome.imported:
        rows = count(outcome.total, "row")
        print_text(f"{file}: already imported, {rows}" if outcome.total else f"{file}: no rows")
    else:
        before = f"; {outcome.skipped:,} were there already" if outcome.skipped else ""
        print_text(
            f"{file}: {count(outcome.imported, 'row')} into {count(len(outcome.streams), 'stream')}"
            f" in {outcome.seconds:.1f} s,"
            f" {outcome.rate:,.0f} rows/s{before}"
        )
