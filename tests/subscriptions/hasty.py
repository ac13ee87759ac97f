"""A clock that goes on by itself."""

from __future__ import annotations

from eventstate.runtime.blocking import BlockingRuntime


class HastyRuntime(BlockingRuntime):
    """Its clock goes on by itself, so that nothing is waited for."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 0.01
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
