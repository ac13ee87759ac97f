"""Bytes as text that may stand in a URL: base64 with ``-`` and ``_``, as in RFC 4648."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Final

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = str.maketrans("-_", "+/")


def urlsafe_text(data: bytes) -> str:
    """The text of some bytes, padded with ``=`` to a multiple of four characters."""
    return b2a_base64(data, newline=False).translate(_TO_URL).decode("ascii")


def urlsafe_bytes(text: str) -> bytes:
    """The bytes that a text stands for.

    Raises:
        ValueError: it was not made by `urlsafe_text`.
    """
    return a2b_base64(text.translate(_FROM_URL))
