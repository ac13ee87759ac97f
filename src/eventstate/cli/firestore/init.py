"""``eventstate firestore init``: make the database."""

from __future__ import annotations

from typing import Annotated

import typer

from eventstate.cli.firestore.running import DatabaseName, DryRun, Project
from eventstate.cli.options import Globals


def init(
    options: Globals,
    location: Annotated[
        str, typer.Option("--location", metavar="PLACE", help="Where it lives for good: nam5, eur3, europe-west1, ...")
    ],
    project: Project = None,
    database: DatabaseName = None,
    pitr: Annotated[
        bool, typer.Option("--pitr/--no-pitr", help="Keep what was written for seven days, to go back to any minute.")
    ] = True,
    delete_protection: Annotated[
        bool, typer.Option("--delete-protection/--no-delete-protection", help="Let nobody delete it by mistake.")
    ] = True,
    dry_run: DryRun = False,
) -> None:
    """Enable Firestore in a project and make a database in Native mode, by the Google Cloud CLI.

    A database that exists already is left as it is. Then set the indexes: 'eventstate firestore indexes'.
    """
    from eventstate.cli.firestore.gcloud import PROGRAM, database_of
    from eventstate.cli.firestore.running import show_or_run

    made = database_of(options, project, database)
    create = [PROGRAM, "firestore", "databases", "create", f"--location={location}", "--type=firestore-native"]
    if pitr:
        create.append("--enable-pitr")
    if delete_protection:
        create.append("--delete-protection")
    enable = [PROGRAM, "services", "enable", "firestore.googleapis.com", f"--project={made.project}", "--quiet"]
    show_or_run(options, [enable, [*create, *made.arguments]], dry_run=dry_run)
