"""Reads are safe to repeat: try until one is answered or the time is up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from eventstate.runtime.base import Runtime
from eventstate.stores.firestore.errors import RpcError, final_error, is_retried, unavailable

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_LEAST_ATTEMPTS: Final = 2


async def read(runtime: Runtime, *, store: str, timeout: float, attempt: Callable[[float], Awaitable[T]]) -> T:
    """The result of the first attempt that gets one; ``attempt`` is given its own deadline in seconds.

    One attempt gets at most half of the time, so that a lost answer leaves room for another.

    Raises:
        StoreUnavailableError: no attempt was answered within ``timeout`` seconds.
        StorePermissionError, ConfigurationError, InvalidInputError: the answer was a refusal.
    """
    started = runtime.monotonic()
    deadline = started + timeout
    attempts = 0
    while True:
        attempts += 1
        try:
            return await attempt(min(timeout / _LEAST_ATTEMPTS, deadline - runtime.monotonic()))
        except RpcError as error:
            failed = error
        if not is_retried(failed) and (refusal := final_error(failed, store=store)) is not None:
            raise refusal
        pause = runtime.random() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempts)
        now = runtime.monotonic()
        if now + pause >= deadline:
            raise unavailable(failed, store=store, seconds=now - started, attempts=attempts)
        await runtime.sleep(pause)
