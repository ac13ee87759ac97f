"""How long to wait before trying again."""

from __future__ import annotations


def full_jitter(attempt: int, chance: float, *, initial: float = 0.01, cap: float = 1.0) -> float:
    """Seconds before retry number ``attempt`` (1-based): uniform up to a doubling, capped bound.

    ``chance`` is a random number in [0, 1). Rule: "full jitter" of the AWS Architecture Blog,
    "Exponential Backoff And Jitter".
    """
    return chance * min(cap, initial * 2.0 ** (attempt - 1))
