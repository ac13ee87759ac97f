"""Instants: microseconds since 1970 UTC in storage, aware datetimes at the public face."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from eventstate.errors import InvalidInputError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def utc_of(micros: int) -> datetime:
    """The aware UTC datetime of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)


def micros_of(instant: object, what: str) -> int:
    """Microseconds since 1970 of an aware datetime.

    Raises:
        InvalidInputError: not a datetime, or one without a time zone.
    """
    if not isinstance(instant, datetime):
        raise InvalidInputError(f"{what} must be a datetime, not {type(instant).__name__}")
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise InvalidInputError(f"{what}={instant} has no time zone; use datetime.now(timezone.utc) or add one")
    return (instant - EPOCH) // _MICROSECOND
