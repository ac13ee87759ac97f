"""From the global options to an open persister."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from eventstate.cli.urls import check_exists, read_only

if TYPE_CHECKING:
    from eventstate.cli.options import Globals
    from eventstate.machines.persister import StateMachinePersister
    from eventstate.stores.base import Store

Access = Literal["read", "write", "create"]


@contextmanager
def opened(options: Globals, access: Access) -> Generator[Store]:
    """The store of the global options. Only ``create`` makes a file that does not exist."""
    from eventstate.stores.url import open_store

    url = options.resolved_url
    if access != "create":
        check_exists(url)
    with open_store(read_only(url) if access == "read" else url) as store:
        yield store


@contextmanager
def persister(options: Globals, access: Access) -> Generator[StateMachinePersister]:
    """A persister on the governor and machines of the global options."""
    from eventstate.cli.machines import load_machines
    from eventstate.machines.persister import StateMachinePersister

    machines = load_machines(options.machines)
    with opened(options, access) as store:
        yield StateMachinePersister(store, governor=options.resolved_governor, machines=machines)
