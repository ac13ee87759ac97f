"""An archive in memory, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eventstate.errors import CorruptionError
from eventstate.stores.archive import check_name


class MemoryArchive:
    """Implements `eventstate.stores.archive.Archive`.

    Attributes:
        blobs: by name; to be damaged by tests.
        before_put, after_put: called with the name of each blob; what they raise, the caller of `put` gets.
    """

    url = "memory://archive"

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.before_put: Callable[[str], None] | None = None
        self.after_put: Callable[[str], None] | None = None

    def put(self, name: str, body: bytes) -> None:
        """Keep a blob."""
        if self.before_put is not None:
            self.before_put(name)
        if self.blobs.setdefault(check_name(name), bytes(body)) != body:
            raise CorruptionError(where=f"{self.url}/{name}", problem="other bytes are there under this name")
        if self.after_put is not None:
            self.after_put(name)

    def get(self, name: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a blob, or a part of them."""
        if name not in self.blobs:
            raise CorruptionError(where=f"{self.url}/{name}", problem="it is missing from the archive")
        body = self.blobs[name]
        start = max(len(body) + start, 0) if start < 0 else start
        return body[start:] if length is None else body[start : start + length]

    def names(self, prefix: str = "") -> Sequence[str]:
        """The names of all blobs that begin so."""
        return sorted(name for name in self.blobs if name.startswith(prefix))
