"""From a URL to a store."""

from __future__ import annotations

import os
from collections.abc import Mapping

from eventstate.errors import ConfigurationError
from eventstate.runtime.base import Runtime
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store

FORMS = "sqlite:///file.db, memory:// or firestore://project[/database]"


def make_store(url: str, runtime: Runtime) -> Store:
    """The store that a URL names, waiting through ``runtime``.

    ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``?durability=full|normal|off``,
    ``?timeout=SECONDS`` and ``?mode=ro``; ``memory://``; ``firestore://project[/database]`` with
    ``?root=a/b``, ``?timeout=SECONDS`` and ``?epoch=NUMBER``. A part that is itself part of a name is percent-encoded.

    Raises:
        ConfigurationError: not such a URL, or an unknown option.
        StoreError: the store can't be opened.
    """
    if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{url!r} is no store URL but a {type(url).__name__}: use {FORMS}")
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigurationError(f"{url!r} is no store URL: use {FORMS}")
    if scheme == "sqlite":
        return _sqlite(url, runtime)
    if scheme == "memory":
        from eventstate.stores.memory import MemoryStore

        if rest:
            raise ConfigurationError(f"{url!r}: memory:// has no name and no option")
        return MemoryStore(runtime)
    if scheme == "firestore":
        return _firestore(url, runtime)
    raise ConfigurationError(f"{scheme!r} is no known kind of store: use {FORMS}")


def _sqlite(url: str, runtime: Runtime) -> Store:
    from eventstate.stores.sqlite.connection import Durability, Settings
    from eventstate.stores.sqlite.store import SqliteStore

    if "#" in url:
        raise ConfigurationError(f"{url!r}: write %23 for a '#' that belongs to the file's name")
    place, _, query = url.partition("://")[2].partition("?")
    path = _unquoted(place)
    if path[:1] != "/" or path == "/":
        raise ConfigurationError(f"{url!r}: write sqlite:///relative.db (three slashes) or sqlite:////absolute.db")
    options = _options(url, query, {"durability", "timeout", "mode"})
    durabilities: dict[str, Durability] = {"full": "full", "normal": "normal", "off": "off"}
    durability = durabilities.get(options.get("durability", "full"))
    if durability is None:
        raise ConfigurationError(f"durability={options['durability']!r}: use full, normal or off")
    if options.get("mode", "rw") not in ("rw", "ro"):
        raise ConfigurationError(f"mode={options['mode']!r}: use rw or ro")
    settings = Settings(
        path=absolute(path[1:]),
        durability=durability,
        timeout=_seconds(options, 10.0),
        read_only=options.get("mode") == "ro",
    )
    return SqliteStore(settings, runtime)


def _firestore(url: str, runtime: Runtime) -> Store:
    from eventstate.stores.firestore.opening import open_firestore
    from eventstate.stores.firestore.url import parse_url

    settings = parse_url(url)
    return open_firestore(
        settings.project,
        runtime=runtime,
        database=settings.database,
        root=settings.root,
        timeout=settings.timeout,
        epoch=settings.epoch,
    )


def _unquoted(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote  # few names need it

    return unquote(text)


def absolute(path: str) -> str:
    """The name of a file from the root on. ``..`` stays in it: where that leads is for the file system to say."""
    start = "" if path.startswith("/") else os.getcwd().rstrip("/")
    return "/".join([start, *(part for part in path.split("/") if part not in ("", "."))]) or "/"


def _options(url: str, query: str, known: set[str]) -> Mapping[str, str]:
    if not query:
        return {}
    from urllib.parse import parse_qsl  # few URLs have options

    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) != len(pairs):
        raise ConfigurationError(f"{url!r}: an option is given twice")
    unknown = sorted(set(options) - known)
    if unknown:
        raise ConfigurationError(f"{url!r}: unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return options


def _seconds(options: Mapping[str, str], default: float) -> float:
    text = options.get("timeout")
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < 3600:
        raise ConfigurationError(f"timeout={text!r}: use a number of seconds between 0 and 3600")
    return seconds


def open_store(url: str) -> Store:
    """Open a store for sync callers; use it in a ``with`` statement or call its ``close``.

    ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``?durability=full|normal|off``,
    ``?timeout=SECONDS`` and ``?mode=ro``; ``memory://``; ``firestore://project[/database]`` with
    ``?root=a/b``, ``?timeout=SECONDS`` and ``?epoch=NUMBER``. What is part of a name is percent-encoded.

    Raises:
        ConfigurationError: no such URL, an unknown option, or a package that is missing.
        NotADatabaseError, FormatError, StorePermissionError, StoreReadOnlyError, StoreUnavailableError:
            the store can't be opened; the text says what to do.
    """
    return make_store(url, BlockingRuntime())


def open_async_store(url: str) -> Store:
    """Open a store for asyncio callers, inside the running loop; use it in an ``async with`` statement.

    URLs and errors are those of `open_store`.
    """
    from eventstate.runtime.aio import AsyncioRuntime

    return make_store(url, AsyncioRuntime())
