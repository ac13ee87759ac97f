"""``eventstate copy SOURCE TARGET``."""

from __future__ import annotations

from typing import Annotated

import typer

from eventstate.cli.import_stream import Rechain
from eventstate.cli.options import Globals
from eventstate.cli.transfers import Commands, Documents, MachineName, Prefix, StateIds


def copy(
    options: Globals,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="URL of the store to copy from.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="URL of the store to copy into.")],
    prefix: Prefix = "",
    machine: MachineName = None,
    ids: StateIds = None,
    commands: Commands = False,
    documents: Documents = False,
    to_governor: Annotated[
        str | None,
        typer.Option("--to-governor", metavar="NAME", help="Whose they are to be in the target; needs --rechain."),
    ] = None,
    rechain: Rechain = False,
) -> None:
    """Copy streams from one store into another, from one backend to another too, with their history and its chain.

    Chains are checked on the way, and in the end both stores are compared. Run it again after a crash, or to
    bring over what was added: it goes on where it stopped. A stream that exists with another history is a
    conflict, and stays as it is.
    """
    from eventstate.cli.transfers import prefix_of, print_report, transferred
    from eventstate.cli.urls import check_exists, read_only, refuse_memory
    from eventstate.log.transfer.stream_transfer import StreamTransfer
    from eventstate.log.transfer.transferring import check_governor
    from eventstate.stores.url import open_store

    refuse_memory(source, "copy")
    refuse_memory(target, "copy")
    check_exists(source)
    governor = options.resolved_governor
    check_governor(governor, to_governor or governor, rechain=rechain)
    with open_store(read_only(source)) as here, open_store(target) as there:
        transfer = StreamTransfer(here, governor=governor)
        report, seconds = transferred(
            "copying streams",
            lambda progress: transfer.copy_to(
                there,
                governor=to_governor,
                prefix=prefix_of(prefix, machine),
                state_ids=ids,
                commands=commands,
                documents=documents,
                rechain=rechain,
                progress=progress,
            ),
        )
    names = {"source": here.url, "target": there.url}
    print_report(report, seconds, as_json=options.as_json, names=names, line=f"{here.url} to {there.url}: ")
