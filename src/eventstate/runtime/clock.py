"""Time and unique ids, shared by every runtime."""

from __future__ import annotations

import os
import time

from eventstate.core.urlsafe import urlsafe_text


def unique() -> str:
    """128 bits as 22 URL-safe characters: 48 bits of milliseconds, then 80 random bits from the system.

    The system's generator is asked each time, so a forked child never repeats its parent's ids.
    """
    raw = int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10)
    return urlsafe_text(raw)[:22]


def chance() -> float:
    """A number in [0, 1), from the system's generator too: a forked child does not wait in step with its parent."""
    return (int.from_bytes(os.urandom(7), "big") >> 3) / 2**53


def secret(size: int) -> bytes:
    """Random bytes from the system, fit for keys."""
    return os.urandom(size)


class SystemClock:
    """Clock and randomness of the machine."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return chance()

    def unique(self) -> str:
        return unique()
