"""The port for archives: blobs that are written once and read for ever."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from eventstate.errors import InvalidInputError

_NAME: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*")


@runtime_checkable
class Archive(Protocol):
    """Blobs by name. Its methods block; the library calls them off the event loop.

    A name is made of parts with ``/`` between them, each of ASCII letters, digits, ``_``, ``-``, ``~`` and, but for the
    first place, ``.``.

    Every method raises:
        StoreUnavailableError: it can't be reached, or answers with an error.
        StorePermissionError, StoreReadOnlyError, StorageFullError: as their texts say.
        InvalidInputError: the name can't be used.
    """

    @property
    def url(self) -> str:
        """How this archive is named in messages; never holds a secret."""
        ...

    def put(self, name: str, body: bytes) -> None:
        """Write a blob, all of it or nothing. It is durable once this returns. The same bytes again change nothing.

        Raises:
            CorruptionError: there are other bytes under this name.
        """
        ...

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a blob, or ``length`` of them from ``start`` on; a negative ``start`` counts from the end.

        Raises:
            CorruptionError: there is no such blob, though its name was given out.
        """
        ...

    def names(self, prefix: str = "") -> Sequence[str]:
        """The names of all blobs that begin so, in order. Blobs that are being written are not among them."""
        ...


def check_name(name: str) -> str:
    """Return ``name`` if it can name a blob.

    Raises:
        InvalidInputError: it can't.
    """
    if not _NAME.fullmatch(name) or len(name) > 500:
        raise InvalidInputError(f"{name!r} can't name a blob of an archive")
    return name
