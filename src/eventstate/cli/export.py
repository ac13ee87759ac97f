"""``eventstate export FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventstate.cli.options import Globals
from eventstate.cli.transfers import Commands, Documents, MachineName, Prefix, StateIds


def export(
    options: Globals,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make, .jsonl or .jsonl.gz.")],
    prefix: Prefix = "",
    machine: MachineName = None,
    ids: StateIds = None,
    commands: Commands = False,
    documents: Documents = False,
    replace: Annotated[bool, typer.Option("--replace", help="A file of this name may be replaced.")] = False,
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="With personal data in the clear, to be read; needs --keyring.")
    ] = False,
) -> None:
    """Write streams to a file of JSON lines, with their history as it is stored, to the byte.

    Each stream is checked against its chain. The file appears once it is complete. import-stream brings it
    into another store, unless it was decrypted.
    """
    from contextlib import nullcontext

    from eventstate.cli.session import needed_keyring, opened
    from eventstate.cli.transfers import prefix_of, print_report, transferred
    from eventstate.cli.urls import refuse_store_files
    from eventstate.log.transfer.stream_transfer import StreamTransfer

    refuse_store_files(options, file)
    keyring = needed_keyring(options, "read") if decrypt else nullcontext()
    with opened(options, "read") as store, keyring as keys:
        transfer = StreamTransfer(store, governor=options.resolved_governor)
        report, seconds = transferred(
            "exporting streams",
            lambda progress: transfer.export_file(
                file,
                prefix=prefix_of(prefix, machine),
                state_ids=ids,
                commands=commands,
                documents=documents,
                replace=replace,
                decrypt=keys,
                progress=progress,
            ),
        )
    print_report(report, seconds, as_json=options.as_json, names={"file": str(file)}, line=f"{file}: ")
