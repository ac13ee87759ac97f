"""``eventstate seal``: seal every stream as it is now."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.core.seals import Seal


def seal(
    options: Globals,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the seal to this file as well, to be kept elsewhere.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="With the list of all streams in the file.")] = False,
    if_older_than: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Take none if the last one is not older than this.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Don't compare with the last seal, as after the restore of a backup.")
    ] = False,
    keep: Annotated[int, typer.Option(metavar="N", min=1, help="Seals whose lists stay in the store.")] = 10,
) -> None:
    """Seal every stream as it is now, while others go on writing.

    A stream that is not what the last seal saw, or that and more, is an error: exit code 1, and nothing is sealed.
    'eventstate verify' holds the streams against the newest seal.
    """
    from eventstate.cli.output import count, counter, print_json, print_text
    from eventstate.cli.session import opened
    from eventstate.cli.urls import refuse_store_files
    from eventstate.log.sealing.manager import SealManager

    refuse_store_files(options, file)
    started = time.monotonic()
    with opened(options, "write") as store, counter() as shown:
        task = shown.add_task("sealing streams", total=None)
        manager = SealManager(store, governor=options.resolved_governor)
        age = timedelta(seconds=if_older_than) if if_older_than is not None else None
        taken = manager.seal(
            if_older_than=age, anew=anew, keep=keep, progress=lambda done: shown.update(task, completed=done)
        )
        if file is not None:
            manager.export(file, number=taken.number, full=full)
    if options.as_json:
        seconds = round(time.monotonic() - started, 3)
        print_json({**record_of(taken), "file": str(file) if file is not None else None, "seconds": seconds})
        return
    where = f", written to {file}" if file is not None else ""
    sizes = f"{count(taken.streams, 'stream')}, {count(taken.events, 'event')}"
    print_text(f"seal {taken.number}: {sizes}, {taken.digest}{where}")


def record_of(taken: Seal) -> dict[str, Any]:
    """A seal as the commands show it with --json."""
    return {
        "governor": taken.governor,
        "number": taken.number,
        "taken_at": taken.taken_at.isoformat(),
        "streams": taken.streams,
        "events": taken.events,
        "root": taken.root,
        "digest": taken.digest,
        "anew": taken.anew,
    }
