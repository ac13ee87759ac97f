"""The slots of a worker in asyncio: one task claims jobs while a slot is free, others await the tools of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from eventstate.core.leases import Fence
from eventstate.core.retrying import fate_of
from eventstate.errors import EventStateError, LeaseLostError
from eventstate.jobs.orchestrator.async_tool import AnyTool
from eventstate.jobs.orchestrator.callable_tool import stopped_result
from eventstate.jobs.orchestrator.calling import ToolCall, begin, result_of_call, stop
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.attempts import Attempt, grace_of, spec_of
from eventstate.jobs.queue.chaining import Report
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt, id_in
from eventstate.jobs.queue.layout import WorkerMark
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.slots import COUNT_SECONDS, MAX_SLOTS, POLL_SECONDS
from eventstate.jobs.queue.telling import AGAIN, Telling
from eventstate.jobs.queue.transaction import Moved
from eventstate.jobs.runs.results import UNKNOWN_TOOL, JobResult
from eventstate.runtime.signal import Signal
from eventstate.transactions.documents import value_of

_Chained: TypeAlias = "tuple[Moved, AsyncAttempt | None]"


class AsyncAttempt(Attempt):
    """A claimed job while its tool runs, in asyncio."""

    call: ToolCall | None = None
    is_torn = False
    """Its loop is ending, and cancels all its tasks."""

    def cancel(self) -> None:
        """Tell its tool to end."""
        stop(self.call, self.context)

    def insist(self) -> None:
        """Tell it again, for the last time."""
        self.context.cancelled.set()
        if self.call is not None:
            self.call.insist()
            self._leave()

    def tear(self) -> None:
        """Tell its tool to end, since the loop does."""
        self.stops = self.is_torn = True
        self.cancel()
        self._leave()

    def _leave(self) -> None:
        """Wait no more for what is given up, where that would keep a loop from ending."""
        if self.call is not None and self.is_torn and self.is_given_up:
            self.call.abandon()


class AsyncSlots:
    """The slots of one worker, and what runs in them. Used inside its loop, but for `close` and `wake`.

    Attributes:
        mark: whom they claim for; None while that is nobody.
        breadth: among how many of the first jobs they choose.
        done: attempts made.
        failure: what no slot can go on after.
        was_torn: a commit may be under way still whose task was cancelled, as a loop does that ends.

    Args:
        announce: called when there is something for the worker to see.
    """

    def __init__(
        self,
        queueing: Queueing,
        telling: Telling,
        tools: Mapping[str, AnyTool],
        queues: Sequence[str],
        count: int,
        announce: Callable[[], None],
    ) -> None:
        self._queueing = queueing
        self._runtime = queueing.core.runtime
        self._telling = telling
        self._tools = tools
        self._queues = queues
        self._count = count
        self._announce = announce
        self._attempts: dict[tuple[str, int], AsyncAttempt] = {}
        self._look = Signal(self._runtime)
        self._changed = Signal(self._runtime)
        self._is_open = False
        self._is_closed = False
        self._is_claiming = False
        self._has_doubts = False
        self._found_nothing = False
        self._collisions = queueing.claiming.collisions
        self._count_at = 0.0
        self.mark: WorkerMark | None = None
        self.breadth = 1
        self.done = 0
        self.failure: Exception | None = None
        self.was_torn = False

    def open(self) -> None:
        """Claim jobs from now on."""
        self._runtime.spawn(self._serve, "eventstate-claims")

    def close(self) -> None:
        """Claim nothing more. What runs goes on."""
        self._is_closed = True
        self._look.set()
        self._changed.set()

    def wake(self) -> None:
        """Look for a job, if a slot is free."""
        self._look.set()

    def doubt(self) -> None:
        """Give back, before the next claim, jobs that were claimed without knowing, since no answer came."""
        self._has_doubts = True
        self._look.set()

    async def end_claims(self, seconds: float) -> bool:
        """Wait for a claim that was under way when they were closed; False where that takes longer."""
        until = self._runtime.monotonic() + seconds
        while (self._is_open or self._is_claiming) and (left := until - self._runtime.monotonic()) > 0:
            await self._changed.wait(left)
        return not self._is_open and not self._is_claiming

    async def pause(self, seconds: float) -> None:
        """Wait a moment for attempts to end."""
        if self._attempts:
            await self._changed.wait(seconds)

    @property
    def attempts(self) -> list[AsyncAttempt]:
        """What runs now."""
        return list(self._attempts.values())

    @property
    def are_idle(self) -> bool:
        """Whether nothing runs, and a look found nothing."""
        return not self._attempts and self._found_nothing

    def forget(self, attempt: AsyncAttempt) -> bool:
        """Note that an attempt has ended, which frees its slot; False if that was known."""
        known = self._attempts.pop((attempt.claim.job_id, attempt.claim.attempt), None)
        self.done += known is not None
        self._look.set()
        self._changed.set()
        return known is not None

    async def reconcile(self) -> None:
        """Give back jobs that were claimed without knowing. Not while anything is claimed."""
        mark = self.mark
        if mark is None:
            return
        core = self._queueing.core
        page = await core.list(layout.RUNNING, f"{mark}/", limit=4 * MAX_SLOTS)
        for document in page.documents:
            running, id = value_of(document), id_in(document).partition("/")[2]
            if (id, running["attempt"]) not in self._attempts:
                fence = Fence(core.governor, f"{layout.JOB_FENCE}{id}", running["fence"])
                job = await self._queueing.survey.job(id)
                claim = Claim(id, job, running["attempt"], mark, fence, running["slot"])
                # One whose tool has done its work must not be done again but as its on_lost allows.
                was_begun = self._telling.has_untold(claim)
                await self._telling.give_back(claim, "nobody knew of its claim", is_running=was_begun)

    # Claiming

    async def _serve(self) -> None:
        self._is_open = True  # not before: a task that is cancelled first never ends what it has not begun
        try:
            while not self._is_closed:
                if self._is_claiming or len(self._attempts) >= self._count:
                    await self._look.wait(POLL_SECONDS)
                    continue
                attempt = await self._claimed()
                if attempt is not None:
                    self._runtime.spawn(lambda first=attempt: self._work(first), f"eventstate-{attempt.claim.job_id}")
                    continue
                with suppress(EventStateError):  # the next sweep does it too
                    await self._telling.forget_all()
                self._found_nothing = True
                await self._look.wait(POLL_SECONDS)
                self._found_nothing = False
        except Exception as error:  # noqa: BLE001 - the worker raises it
            self._fail(error)
        except BaseException:
            self.was_torn = True
            raise
        finally:
            self._is_open = False
            self._changed.set()

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self._announce()

    async def _claimed(self) -> AsyncAttempt | None:
        """The next job, which is known to be this worker's before anybody can look."""
        self._is_claiming = True
        try:
            if self._has_doubts:
                self._has_doubts = False
                await self._reconciled()
            mark = self.mark
            claim = None if mark is None or self._is_closed else await self._claim(mark)
            return None if claim is None else self._begun(claim)
        finally:
            self._is_claiming = False

    async def _reconciled(self) -> None:
        try:
            await self.reconcile()
        except EventStateError as error:
            self._has_doubts = True
            if fate_of(error) not in AGAIN:
                raise

    async def _claim(self, mark: WorkerMark) -> Claim | None:
        releases = self._telling.worked_off()
        claiming = self._queueing.claiming
        try:
            claim = await claiming.claim(mark, self._queues, breadth=self.breadth, forget=releases)
        except LeaseLostError:
            if self.mark is mark:
                self.mark = None
            self._announce()
            return None
        except EventStateError as error:
            if fate_of(error) not in AGAIN:
                raise
            return None
        if claim is not None:
            self._telling.removed(releases)
        if self._collisions != claiming.collisions and self._runtime.monotonic() >= self._count_at:
            self._collisions = claiming.collisions
            self._count_at = self._runtime.monotonic() + COUNT_SECONDS
            with suppress(EventStateError):  # a claim that was had must not be lost over it
                self.breadth = await self._queueing.reaping.breadth()
        return claim

    def _begun(self, claim: Claim) -> AsyncAttempt:
        attempt = AsyncAttempt(claim, grace_of(self._tools.get(claim.job.tool)))
        self._attempts[claim.job_id, claim.attempt] = attempt
        return attempt

    # One slot

    async def _work(self, first: AsyncAttempt) -> None:
        """Do a job, and those that are claimed with the end of the one before, also where they were closed since."""
        attempt: AsyncAttempt | None = first
        while attempt is not None and not attempt.is_given_up:
            following = None
            try:
                following = await self._telling.end(attempt, await self._result(attempt), self._chained)
            except Exception as error:  # noqa: BLE001 - the worker raises it
                self._fail(error)
            except BaseException:
                self.was_torn = True
                raise
            finally:
                self.forget(attempt)
            attempt = following

    async def _result(self, attempt: AsyncAttempt) -> JobResult:
        """Call the tool; how it ended."""
        claim, context = attempt.claim, attempt.context
        tool = self._tools.get(claim.job.tool)
        if tool is None:
            return JobResult(UNKNOWN_TOOL, stderr=f"this worker has no tool {claim.job.tool!r}")

        if context.is_cancelled:  # it was lost, or its worker stopped, before it had begun
            return stopped_result(False, 0.0)

        call = attempt.call = begin(tool, spec_of(claim.job_id, claim.job), context)
        cancelled = await call.end(attempt.tear)
        if cancelled is not None and attempt.is_given_up:
            raise cancelled  # nobody knows what it will come to
        try:
            return result_of_call(call.outcome, context)
        except BaseException as error:  # noqa: BLE001 - a tool that exits ends its attempt, not its worker
            return JobResult(-2, stderr=f"{type(error).__name__}: {error}")

    async def _chained(self, ended: Claim, report: Report, doubt: Doubt) -> _Chained | None:
        """End an attempt and claim the next job in one commit; None where something else is being claimed."""
        mark = self.mark
        if self._is_claiming or self._has_doubts or self._is_closed or mark is None or mark != ended.worker:
            return None
        releases = self._telling.worked_off()
        self._is_claiming = True
        try:
            chained = await self._queueing.chaining.report(
                ended, report, doubt, self._queues, breadth=self.breadth, forget=releases
            )
            if chained is None:
                return None
            if chained.claim is None:
                return chained.moved, None
            self._telling.removed(releases)
            return chained.moved, self._begun(chained.claim)
        finally:
            self._is_claiming = False
            self._look.set()
            self._changed.set()
