"""``eventstate restore``: a backup in the place of a SQLite store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventstate.cli.options import Globals


def restore(
    options: Globals,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What 'eventstate backup' made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a store that exists; what that held is gone.")
    ] = False,
) -> None:
    """Make the store of --url from a backup. No process may have that store open."""
    from eventstate.cli.output import print_json, print_text
    from eventstate.cli.urls import needed_sqlite_file
    from eventstate.errors import ConfigurationError
    from eventstate.stores.sqlite.backup import restore as put

    destination = needed_sqlite_file(options.resolved_url, "restore")
    if destination.exists() and not replace:
        raise ConfigurationError(f"{destination} exists: pass --replace to put the backup in its place")
    size = put(file.absolute(), destination, replace=replace)
    if options.as_json:
        print_json({"file": str(file), "restored": str(destination), "bytes": size})
    else:
        print_text(f"{destination}: {size:,} bytes restored from {file}")
