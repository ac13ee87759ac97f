"""What the commands that set something up have in common: they show what they would run, or run it and tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from eventstate.cli.firestore.gcloud import Became, Command
    from eventstate.cli.options import Globals

Project = Annotated[
    str | None, typer.Option("--project", metavar="ID", help="The Google Cloud project; or --url firestore://ID.")
]
DatabaseName = Annotated[
    str | None, typer.Option("--database", metavar="ID", help="The database in it; '(default)' unless named.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the commands that would be run, and run none.")]


def show_or_run(options: Globals, commands: Sequence[Command], *, dry_run: bool) -> None:
    """Print commands one a line, or run them and print what became of each."""
    from eventstate.cli.firestore.gcloud import run_all, shown
    from eventstate.cli.output import bar, print_json, print_text

    records: list[dict[str, Any]] = []
    if dry_run:
        records = [{"command": shown(command), "outcome": "not run"} for command in commands]
    else:
        with bar() as progress:
            task = progress.add_task("gcloud", total=len(commands), rate="")

            def done(command: Command, became: Became) -> None:
                records.append({"command": shown(command), "outcome": became})
                progress.advance(task)

            run_all(commands, done)
    if options.as_json:
        print_json({"dry_run": dry_run, "commands": records})
        return
    for record in records:
        print_text(record["command"] if dry_run else f"{record['outcome']}: {record['command']}")
