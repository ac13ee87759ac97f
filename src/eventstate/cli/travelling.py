"""From the global options to time travel."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from eventstate.cli.options import Globals
    from eventstate.cli.session import Access
    from eventstate.machines.time_travel import TimeTravel


@contextmanager
def time_travel(options: Globals, access: Access, *, archive: Path | None = None) -> Generator[TimeTravel]:
    """Time travel on the governor and machines of the global options; pruned events are read from the archive."""
    from eventstate.cli.machines import load_machines
    from eventstate.cli.session import keyring, opened
    from eventstate.machines.time_travel import TimeTravel
    from eventstate.stores.directory import DirectoryArchive

    machines = load_machines(options.machines)
    with opened(options, access) as store, keyring(options, access) as keys:
        yield TimeTravel(
            store,
            governor=options.resolved_governor,
            machines=machines,
            keyring=keys,
            archive=DirectoryArchive(archive) if archive is not None else None,
        )


def instant_of(name: str, text: str | None) -> datetime | None:
    """The time of an option.

    Raises:
        ConfigurationError: no ISO 8601 time.
    """
    from eventstate.cli.records import parse_instant
    from eventstate.errors import ConfigurationError

    try:
        return parse_instant(text) if text is not None else None
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from None
