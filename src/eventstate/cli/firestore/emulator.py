"""``eventstate firestore emulator``: Google's emulator, until it is stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from eventstate.cli.firestore.running import DryRun
from eventstate.cli.options import Globals


def emulator(
    options: Globals,
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=1, max=65535, help="The port there.")] = 8080,
    dry_run: DryRun = False,
) -> None:
    """Run the Firestore emulator of the Google Cloud CLI, until Ctrl-C. It forgets everything when it ends.

    Programs find it by FIRESTORE_EMULATOR_HOST. gcloud asks to install what is missing: a Java runtime it needs too.
    """
    from eventstate.cli.firestore.gcloud import PROGRAM, find_program, run_in_front
    from eventstate.cli.firestore.running import show_or_run
    from eventstate.cli.output import note

    place = f"{host}:{port}"
    command = [PROGRAM, "emulators", "firestore", "start", f"--host-port={place}"]
    if dry_run:
        show_or_run(options, [command], dry_run=True)
        return
    find_program()
    note(f"export FIRESTORE_EMULATOR_HOST={place}")
    run_in_front(command)  # what it prints is for the person in front of it, and so are its questions
