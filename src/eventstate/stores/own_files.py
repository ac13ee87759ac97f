"""The files that this process has open as stores: nothing else may open them.

POSIX drops all locks that a process has on a file as soon as the process closes any descriptor of it. So to open the
file of an open store by hand, and to close it again, takes SQLite's locks away without a sign; and to replace it is to
lose the store. Whoever opens a path that a caller has named asks here first. Only names and inodes are looked at.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Final

from eventstate.errors import InvalidInputError

_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside a file belongs to it."""

_open: Counter[str] = Counter()


def own(path: str) -> None:
    """Take note that a store has this file open, until `disown` is called as often."""
    _open[path] += 1


def disown(path: str) -> None:
    """A store has closed this file."""
    _open[path] -= 1
    if _open[path] <= 0:
        del _open[path]


def refuse_own(path: str | os.PathLike[str], stores: Iterable[str | os.PathLike[str]] = ()) -> None:
    """See that a path leads to no file of a store that this process has open, nor to one of ``stores``.

    Raises:
        InvalidInputError: it does, if only by another name.
    """
    asked = os.fspath(path)
    for store in {*list(_open), *(os.fspath(store) for store in stores)}:
        real = os.path.realpath(store)  # SQLite's own names go by it
        for suffix in _BESIDE:
            if _is_same(asked, real + suffix):
                raise InvalidInputError(
                    f"{asked} belongs to the store {store}, which must not be read or written as a file: name another"
                )


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there (yet): then its name says it
        return os.path.realpath(one) == os.path.realpath(other)
