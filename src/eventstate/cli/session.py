"""From the global options to an open persister."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from eventstate.cli.urls import check_exists, read_only
from eventstate.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from eventstate.cli.options import Globals
    from eventstate.machines.keyring import Keyring
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
def keyring(options: Globals, access: Access) -> Generator[Keyring | None]:
    """The keyring of the global options; None where none is named."""
    from eventstate.machines.keyring import Keyring
    from eventstate.stores.url import open_store

    url = options.resolved_keyring
    if url is None:
        yield None
        return
    check_exists(url)
    with open_store(read_only(url) if access == "read" else url) as store:
        yield Keyring(store, governor=options.resolved_governor)


@contextmanager
def needed_keyring(options: Globals, access: Access) -> Generator[Keyring]:
    """The keyring of the global options.

    Raises:
        ConfigurationError: none is named.
    """
    with keyring(options, access) as found:
        if found is None:
            raise ConfigurationError("which keyring? Name its store with --keyring URL or EVENTSTATE_KEYRING")
        yield found


@contextmanager
def persister(options: Globals, access: Access, *, archive: Path | None = None) -> Generator[StateMachinePersister]:
    """A persister on the governor and machines of the global options; pruned events are read from the archive."""
    from eventstate.cli.machines import load_machines
    from eventstate.machines.persister import StateMachinePersister
    from eventstate.stores.directory import DirectoryArchive

    machines = load_machines(options.machines)
    with opened(options, access) as store, keyring(options, access) as keys:
        yield StateMachinePersister(
            store,
            governor=options.resolved_governor,
            machines=machines,
            keyring=keys,
            archive=DirectoryArchive(archive) if archive is not None else None,
        )
