"""A Firestore store: which one, by what right, and whether it answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from eventstate.cli.doctor.lines import Line, guarded, ok, warn

SLOW_SECONDS = 1.0


def check_firestore(url: str) -> Iterator[Line]:
    """Everything about a Firestore store."""
    yield from guarded("url", lambda: _named(url))
    yield _access()
    yield from guarded("reachable", lambda: _reached(url))


def _named(url: str) -> Iterator[Line]:
    from eventstate.stores.firestore.url import parse_url

    settings = parse_url(url)
    yield ok("project", settings.project)
    yield ok("database", settings.database)
    if settings.root:
        yield ok("root", settings.root)


def _access() -> Line:
    emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
    if emulator:
        return warn("emulator", f"{emulator} (FIRESTORE_EMULATOR_HOST): nothing there is kept")
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return ok("credentials", f"{named} (GOOGLE_APPLICATION_CREDENTIALS)" if named else "those of the environment")


def _reached(url: str) -> Iterator[Line]:
    from eventstate.runtime.blocking import drive
    from eventstate.stores.url import open_store

    with open_store(url) as store:
        started = time.monotonic()
        drive(store.owners(limit=1))
        first = time.monotonic() - started
        started = time.monotonic()
        drive(store.owners(limit=1))
        again = time.monotonic() - started
        text = f"answers in {again * 1000:.0f} ms, the first time in {first * 1000:.0f} ms"
        yield ok("reachable", text) if again < SLOW_SECONDS else warn("reachable", f"{text}: slow")
        yield ok("node", store.node)
