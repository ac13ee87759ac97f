"""Trying again, with pauses by chance and an end, on the runtime's clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from eventstate.core.backoff import full_jitter
from eventstate.core.retrying import RETRIED, RetryPolicy, fate_of
from eventstate.runtime.base import Runtime

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")


async def retried(attempt: Callable[[int], Awaitable[T]], policy: RetryPolicy, runtime: Runtime) -> T:
    """The result of ``attempt``, called with 1, 2, … as long as its errors are transient or conflicts.

    The last error is raised as it is. The first attempt costs nothing extra.
    """
    started = runtime.monotonic()
    try:
        return await attempt(1)
    except Exception as error:
        if fate_of(error) not in RETRIED or policy.attempts == 1:
            raise
        first = error
    return await _again(attempt, policy, runtime, started, first)


async def _again(
    attempt: Callable[[int], Awaitable[T]], policy: RetryPolicy, runtime: Runtime, started: float, first: Exception
) -> T:
    import tenacity

    def pause(number: int) -> float:
        return full_jitter(number, runtime.random(), initial=policy.initial, cap=policy.cap)

    def is_over(number: int, wait: float) -> bool:
        return number >= policy.attempts or runtime.monotonic() + wait - started >= policy.timeout

    wait = pause(1)
    if is_over(1, wait):
        raise first
    await runtime.sleep(wait)

    # tenacity counts from the second attempt on.
    def stop(state: RetryCallState) -> bool:
        return is_over(state.attempt_number + 1, state.upcoming_sleep)

    retrying = tenacity.AsyncRetrying(
        sleep=runtime.sleep,
        wait=lambda state: pause(state.attempt_number + 1),
        stop=stop,
        retry=tenacity.retry_if_exception(lambda error: fate_of(error) in RETRIED),
        reraise=True,
    )
    async for trial in retrying:
        with trial:
            return await attempt(trial.retry_state.attempt_number + 1)
    raise AssertionError("tenacity ended without a result or an error")
