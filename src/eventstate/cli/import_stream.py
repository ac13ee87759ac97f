"""``eventstate import-stream FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventstate.cli.options import Globals

Rechain = Annotated[
    bool,
    typer.Option("--rechain", help="Make new chains for another governor; digests are others then."),
]


def import_stream(
    options: Globals,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that export wrote.")],
    rechain: Rechain = False,
) -> None:
    """Bring the streams of an exported file into the store, with their history and its chain.

    All of the file is checked before anything is written. Run it again after a crash: it goes on where it
    stopped. A stream that exists with another history is a conflict, and stays as it is. Rows of other
    files are what import is for.
    """
    from eventstate.cli.session import opened
    from eventstate.cli.transfers import print_report, transferred
    from eventstate.cli.urls import is_new_file, refuse_memory, refuse_store_files
    from eventstate.log.transfer.files import check_file
    from eventstate.log.transfer.stream_transfer import StreamTransfer

    refuse_memory(options.resolved_url, "import-stream")
    refuse_store_files(options, file)
    if is_new_file(options.resolved_url):  # a bad file must not leave an empty store behind
        check_file(file)
    with opened(options, "create") as store:
        transfer = StreamTransfer(store, governor=options.resolved_governor)
        report, seconds = transferred(
            "importing streams",
            lambda progress: transfer.import_file(file, rechain=rechain, progress=progress),
        )
    print_report(report, seconds, as_json=options.as_json, names={"file": str(file)}, line=f"{file}: ")
