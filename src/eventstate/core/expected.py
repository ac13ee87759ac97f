"""What an append expects of the stream it appends to."""

from __future__ import annotations

import enum
from typing import Final, Literal

from eventstate.core.ids import MAX_VERSION
from eventstate.errors import InvalidInputError, VersionConflictError


class _Any(enum.Enum):
    ANY = "any version"

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any.ANY
"""Append whatever the version is (but never to a deleted stream)."""

AnyVersion = Literal[_Any.ANY]


def check_expected(value: object) -> int | AnyVersion:
    """Return an expected version that can be compared.

    Raises:
        InvalidInputError: not a version number and not ANY.
    """
    if value is ANY:
        return ANY
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(f"expected={value!r}: pass a version number, the loaded state, or ANY")
    if not 0 <= value <= MAX_VERSION:
        raise InvalidInputError(f"expected={value}: a version is between 0 (no such state yet) and {MAX_VERSION:,}")
    return value


def require_version(stream: str, expected: int | AnyVersion, actual: int) -> None:
    """Raise a VersionConflictError unless the stream is where it is expected to be."""
    if expected is not ANY and expected != actual:
        raise VersionConflictError(stream=stream, expected=expected, actual=actual)
