"""The end of an attempt and the claim of the next job in one commit: half the commits of a worker that has much to do.

It is an offer only. Whatever stands in the way of the claim, the attempt is ended by itself, as if nothing had been
tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from eventstate.errors import EventStateError, LeaseLostError, TransactionConflictError
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.claiming import Claim, Claiming
from eventstate.jobs.queue.core import ONCE, Doubt, QueueCore
from eventstate.jobs.queue.ending import Ending
from eventstate.jobs.queue.transaction import Moved, QueueTransaction


class Report(NamedTuple):
    """How an attempt ended, as `Ending.report` takes it."""

    outcome: str
    result: dict[str, Any] | None
    error: str | None


class Chained(NamedTuple):
    """A job that has ended, and the claim of the next one; None where that was not ready any more."""

    moved: Moved
    claim: Claim | None


class Chaining:
    """Ends attempts and claims the next jobs with them."""

    def __init__(self, core: QueueCore, claiming: Claiming, ending: Ending) -> None:
        self._core = core
        self._claiming = claiming
        self._ending = ending

    async def report(
        self,
        claim: Claim,
        report: Report,
        doubt: Doubt,
        queues: Sequence[str],
        *,
        breadth: int = 1,
        forget: Sequence[str] = (),
    ) -> Chained | None:
        """End an attempt and claim what its worker would claim right afterwards.

        None where that may not be done together: then nothing was done, or ``doubt`` says what may have been, and the
        attempt is to be reported by itself. A claim whose commit was in doubt then is nobody's, as any without an
        answer.

        Raises:
            LeaseLostError: as `Ending.report`.
        """
        own = Doubt()
        try:
            return await self._report(claim, report, own, queues, breadth, forget)
        except LeaseLostError:
            raise
        except TransactionConflictError:
            self._claiming.collisions += 1
        except EventStateError:  # of the claim, perhaps: what is wrong with the end shows when it is made alone
            if own.token is not None:
                doubt.token, doubt.result = own.token, own.result.moved
        return None

    async def _report(
        self, claim: Claim, report: Report, doubt: Doubt, queues: Sequence[str], breadth: int, forget: Sequence[str]
    ) -> Chained | None:
        if claim.slot is not None or await self._is_needed(claim.job_id):
            return None  # its end makes others ready, which may go before those that are ready now
        chosen = await self._claiming.choose(queues, breadth)
        if chosen is None:
            return None
        end = self._ending.reported(claim, *report)
        left = self._core.recall(claim.job_id)

        async def both(tx: QueueTransaction) -> Chained:
            if left is not None:
                tx.begin_with(left)
            now = await tx.read_ahead([claim.job_id, *chosen.jobs], chosen.limits)
            moved = await end(tx, now)
            if not moved.job.is_terminal or moved.job.asked:
                return Chained(moved, None)  # it may be the next one itself
            return Chained(moved, await self._claiming.take(tx, claim.worker, chosen, forget, now))

        return await self._core.run(both, fence=claim.worker.fence, retry=ONCE, doubt=doubt)

    async def _is_needed(self, job_id: str) -> bool:
        """Whether others wait for a job."""
        return bool((await self._core.list(layout.EDGES, f"{job_id}/", limit=1)).documents)
