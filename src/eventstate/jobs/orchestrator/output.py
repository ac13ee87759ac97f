"""What a program prints, kept with bounded memory: its beginning and its end."""

from __future__ import annotations

from collections import deque
from typing import Final

KEPT: Final = 64 * 1024
"""Bytes of the beginning, and of the end."""


class Output:
    """The output of one stream of one program."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.total = 0

    def add(self, chunk: bytes) -> None:
        """Take what was printed next."""
        self.total += len(chunk)
        room = self._kept - len(self._head)
        self._head += chunk[:room]
        rest = chunk[room:]
        if not rest:
            return
        self._tail.append(rest)
        self._tail_bytes += len(rest)
        while self._tail_bytes - len(self._tail[0]) >= self._kept:
            self._tail_bytes -= len(self._tail.popleft())

    @property
    def text(self) -> str:
        """All of it as text, or its beginning and its end with a remark of how much is left out between."""
        tail = b"".join(self._tail)[-self._kept :]
        left_out = self.total - len(self._head) - len(tail)
        between = f"\n[{left_out:,} bytes left out]\n" if left_out else ""
        return _text(bytes(self._head)) + between + _text(tail) if left_out else _text(bytes(self._head) + tail)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
