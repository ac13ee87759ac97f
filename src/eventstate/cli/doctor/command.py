"""``eventstate doctor``."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from eventstate.cli.exits import ExitCode
from eventstate.cli.options import Globals

if TYPE_CHECKING:
    from eventstate.cli.doctor.lines import Line


def doctor(
    options: Globals,
    check: Annotated[
        bool, typer.Option("--check", help="Also have SQLite check its structures: reads the whole file.")
    ] = False,
) -> int:
    """Look at the store and its surroundings: each line is ok, warn or bad.

    Exit code 1 if a line is bad, also where the store can't be opened.
    """
    from eventstate.cli.output import print_json, print_table

    lines = list(examine(options.resolved_url, integrity=check))
    is_healthy = all(line.level != "bad" for line in lines)
    if options.as_json:
        print_json({"is_healthy": is_healthy, "checks": [line._asdict() for line in lines]})
    else:
        print_table(("", "what", "found"), [(line.level, line.name, line.text) for line in lines])
    return ExitCode.OK if is_healthy else ExitCode.FINDING


def examine(url: str, *, integrity: bool = False) -> Iterator[Line]:
    """What there is to say about a store."""
    from eventstate import __version__
    from eventstate.cli.doctor.lines import guarded, ok, warn

    yield ok(
        "eventstate", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    scheme = url.partition("://")[0]
    if scheme == "sqlite":
        from eventstate.cli.doctor.sqlite import check_sqlite

        yield from check_sqlite(url, integrity=integrity)
    elif scheme == "firestore":
        from eventstate.cli.doctor.firestore import check_firestore

        yield from check_firestore(url)
    else:
        yield from guarded("url", lambda: _other(url))
        yield warn("durability", "none: nothing outlives the process")


def _other(url: str) -> Iterator[Line]:
    from eventstate.cli.doctor.lines import ok
    from eventstate.stores.url import open_store

    with open_store(url) as store:
        yield ok("url", store.url)
