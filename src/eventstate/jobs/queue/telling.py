"""Telling a queue what came of attempts, again and again while the store does not answer.

Waits through the runtime alone, so it serves threads and asyncio.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from eventstate.core.codec import encode
from eventstate.core.retrying import Fate, fate_of
from eventstate.errors import EventStateError, InvalidInputError, LeaseLostError
from eventstate.jobs.queue.chaining import Report
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.rules import FAILED
from eventstate.jobs.queue.transaction import Moved
from eventstate.jobs.runs.results import JobResult

if TYPE_CHECKING:
    from eventstate.jobs.queue.attempts import Attempt

T = TypeVar("T")
A = TypeVar("A", bound="Attempt")

MAX_RESULT_BYTES: Final = 256 * 1024
AGAIN_SECONDS: Final = 0.25
AGAIN: Final = frozenset({Fate.TRANSIENT, Fate.CONFLICT, Fate.UNKNOWN})

Chain: TypeAlias = "Callable[[Claim, Report, Doubt], Awaitable[tuple[Moved, A | None] | None]]"
"""Ends an attempt and begins the next one in the same commit; None where it is to be ended alone."""


class Telling:
    """Tells a queue how the attempts of one worker ended. Safe to use from many threads."""

    def __init__(self, queueing: Queueing) -> None:
        self._queueing = queueing
        self._mutex = threading.Lock()
        self._released: list[str] = []
        self._untold: set[tuple[str, int]] = set()
        self._hurries = False

    def hurry(self) -> None:
        """From now on, try only once to tell what came of attempts: the worker ends."""
        self._hurries = True

    async def end(self, attempt: A, result: JobResult, chain: Chain[A] | None = None) -> A | None:
        """End an attempt whose tool has ended; the next one, where ``chain`` has begun it with that."""
        if not attempt.give_up():
            await self.tell_late(attempt.claim, result)
        elif attempt.stops and not result.success:
            await self.give_back(attempt.claim, "its worker was stopped")
        else:
            return await self.tell(attempt.claim, result, chain)
        return None

    async def tell(self, claim: Claim, result: JobResult, chain: Chain[A] | None = None) -> A | None:
        """End an attempt as its tool did; the next one, where ``chain`` has begun it with that.

        An attempt that does not count any more leaves word of a late result.
        """
        doubt = Doubt()
        following: A | None = None
        try:
            try:
                report = Report(result.outcome, _summary(claim, result), result.error_message)
                chained = await chain(claim, report, doubt) if chain is not None else None
                moved, following = chained or (await self._reported(claim, report, doubt), None)
            except InvalidInputError as error:  # what it says of itself can't be stored
                told = f"its result can't be stored: {error}"[:500]
                moved = await self._reported(claim, Report(FAILED, None, told), doubt)
        except LeaseLostError:
            await self.tell_late(claim, result)
            return None
        except BaseException:
            with self._mutex:
                self._untold.add((claim.job_id, claim.attempt))
            raise
        await self._let_go(moved)
        return following

    async def give_back(self, claim: Claim, reason: str, *, is_running: bool = False) -> None:
        """Let a job wait again, or have it be lost if its tool is running still."""
        doubt = Doubt()
        ending = self._queueing.ending
        try:
            moved = await self._until_answered(lambda: ending.give_back(claim, reason, doubt, is_running=is_running))
        except LeaseLostError:
            return
        await self._let_go(moved)

    def has_untold(self, claim: Claim) -> bool:
        """Whether its tool has ended, and the queue could not be told."""
        with self._mutex:
            return (claim.job_id, claim.attempt) in self._untold

    async def tell_late(self, claim: Claim, result: JobResult) -> None:
        """Leave word of a result that counts for nothing; so it is not worth more than one try."""
        try:
            await self._queueing.ending.report_late(claim, result.outcome, _summary(claim, result))
        except EventStateError:
            return

    async def _reported(self, claim: Claim, report: Report, doubt: Doubt) -> Moved:
        return await self._until_answered(lambda: self._queueing.ending.report(claim, *report, doubt))

    async def _until_answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call, made again as long as the store does not answer; its lease, or its stop, ends that."""
        while True:
            try:
                return await call()
            except EventStateError as error:
                if fate_of(error) not in AGAIN or self._hurries:
                    raise
            await self._queueing.core.runtime.sleep(AGAIN_SECONDS)

    async def _let_go(self, moved: Moved) -> None:
        """Have those go on that waited for a job. What fails here is found by the next sweep."""
        if moved.release is None:
            return
        try:
            await self._queueing.releasing.release(moved.release, forget=False)
        except EventStateError:
            return
        with self._mutex:
            self._released.append(moved.release)

    # Releases that were worked off go with the next claim, so that they cost no commit of their own.

    def worked_off(self) -> list[str]:
        """Some releases that may be removed."""
        with self._mutex:
            return self._released[:50]

    def removed(self, releases: Sequence[str]) -> None:
        """Note that these are gone."""
        with self._mutex:
            self._released = [release for release in self._released if release not in releases]

    async def forget_all(self) -> None:
        """Remove them in a commit of their own, where there is nothing else to do."""
        while releases := self.worked_off():
            await self._queueing.releasing.forget(releases)
            self.removed(releases)


def _summary(claim: Claim, result: JobResult) -> dict[str, Any]:
    """What is stored of a result.

    Raises:
        InvalidInputError: it has no exact JSON form, or is too large.
    """
    summary = result.summary(claim.job_id)
    size = len(encode(summary, "$.result"))
    if size > MAX_RESULT_BYTES:
        raise InvalidInputError(f"it takes {size:,} bytes, the limit is {MAX_RESULT_BYTES:,}; keep it elsewhere")
    return summary
