"""What the command line reads from a store URL before it opens it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from eventstate.errors import ConfigurationError, StoreUnavailableError

if TYPE_CHECKING:
    from eventstate.cli.options import Globals

_SQLITE = "sqlite://"


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL; None for other stores."""
    if not url.startswith(_SQLITE):
        return None
    path = unquote(urlsplit(url).path)[1:]
    return Path(path).absolute() if path else None


def needed_sqlite_file(url: str, command: str) -> Path:
    """The file of a SQLite URL.

    Raises:
        ConfigurationError: another kind of store.
    """
    path = sqlite_file(url)
    if path is None:
        raise ConfigurationError(
            f"{command} works on a SQLite file, not on {url!r}; use your provider's own means there"
        )
    return path


def is_new_file(url: str) -> bool:
    """Whether opening this URL would make a file."""
    path = sqlite_file(url)
    return path is not None and not path.exists()


def refuse_store_files(options: Globals, *paths: Path | None, urls: Sequence[str] = ()) -> None:
    """See that no path leads to the file of a store or keyring that is named, before it is opened or written.

    Raises:
        InvalidInputError: one does.
    """
    from eventstate.stores.own_files import refuse_own

    named = (options.resolved_url, options.resolved_keyring, *urls)
    stores = [file for url in named if url is not None and (file := sqlite_file(url)) is not None]
    for path in paths:
        if path is not None:
            refuse_own(path, stores)


def refuse_memory(url: str, command: str) -> None:
    """Raise a ConfigurationError for a store that would be gone when the command has ended."""
    if url.startswith("memory:"):
        raise ConfigurationError(
            f"{command} into {url!r} would be gone at once; name a file with --url sqlite:///file.db"
        )


def check_exists(url: str) -> None:
    """Raise a StoreUnavailableError for a SQLite file that does not exist, before opening would make it."""
    if is_new_file(url):
        detail = f"there is no file {sqlite_file(url)}; name the store with --url"
        raise StoreUnavailableError(store=url, detail=detail)


def read_only(url: str) -> str:
    """The same store, opened so that nothing in it can change."""
    if sqlite_file(url) is None or "mode=" in urlsplit(url).query:
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}mode=ro"
