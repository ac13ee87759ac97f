"""Idempotency keys that say when they were made: only those can be forgotten one day."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from eventstate.core.ids import check_id
from eventstate.core.instants import micros_of

DAY_MICROS: Final = 86_400_000_000

SHORTEST_RETENTION_MICROS: Final = 2 * DAY_MICROS
"""Keys are kept so long at least, so a younger one need not be looked up."""

MARGIN_MICROS: Final = DAY_MICROS
"""A record is deleted so long after its key is refused: for clocks that differ and requests that linger."""

_TIMED: Final = re.compile(r"@([0-9a-f]{14})")


def timed_key(name: str, at: datetime) -> str:
    """An idempotency key that says when its command was first made.

    ``timed_key("checkout-42", cart.submitted_at)``: the same name and time give the same key. Its record can be deleted
    once it is old (`RetentionManager.forget_keys`); from then on the key is refused, and never runs a second time.

    Raises:
        InvalidInputError: the time has no time zone.
        InvalidIdError: the name can't be used.
    """
    return check_id("idempotency key", f"{name}@{max(micros_of(at, 'at'), 0):014x}")


def minted_at(key: str) -> int | None:
    """When a key was made, in microseconds; None for one that does not say."""
    match = _TIMED.fullmatch(key[-15:])
    return int(match[1], 16) if match else None
