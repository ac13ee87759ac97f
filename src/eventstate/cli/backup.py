"""``eventstate backup``: a copy of a SQLite store while it is in use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from eventstate.cli.options import Globals


def backup(
    options: Globals,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to make; it must not exist.")],
) -> None:
    """Copy a SQLite store to one file, consistent as of one moment, while others go on writing."""
    from eventstate.cli.output import print_json, print_text
    from eventstate.cli.session import opened
    from eventstate.cli.urls import needed_sqlite_file
    from eventstate.stores.sqlite.backup import backup as copy

    needed_sqlite_file(options.resolved_url, "backup")
    started = time.monotonic()
    with opened(options, "read") as store:
        size = copy(store, file.absolute())
    seconds = time.monotonic() - started
    if options.as_json:
        print_json({"file": str(file), "bytes": size, "seconds": round(seconds, 3)})
    else:
        print_text(f"{file}: {size:,} bytes in {seconds:.2f} s")
