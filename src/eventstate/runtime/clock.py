"""Time and unique ids, shared by every runtime."""

from __future__ import annotations

import os
import random
import time
from base64 import urlsafe_b64encode


def unique() -> str:
    """128 bits as 22 URL-safe characters: 48 bits of milliseconds, then 80 random bits from the system.

    The system's generator is asked each time, so a forked child never repeats its parent's ids.
    """
    raw = int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10)
    return urlsafe_b64encode(raw)[:22].decode("ascii")


class SystemClock:
    """Clock and randomness of the machine."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return random.random()

    def unique(self) -> str:
        return unique()
