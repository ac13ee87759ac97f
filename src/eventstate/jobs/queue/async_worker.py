"""A worker for asyncio: claims jobs and has coroutines do them, and functions in threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from eventstate.core.retrying import fate_of
from eventstate.errors import ConfigurationError, EventStateError, InvalidInputError, LeaseLostError
from eventstate.jobs.orchestrator.async_tool import AnyTool, async_tools
from eventstate.jobs.queue.async_job_queue import AsyncJobQueue
from eventstate.jobs.queue.free_signals import stopped_by_free_signals
from eventstate.jobs.queue.layout import WorkerMark, worker_lock
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.slots import POLL_SECONDS
from eventstate.jobs.queue.telling import AGAIN, AGAIN_SECONDS, Telling
from eventstate.jobs.queue.upkeep import Settings, Upkeep
from eventstate.jobs.queue.worker import IDLE_POLL_SECONDS, MIND_SECONDS, UNWINDING_SECONDS
from eventstate.jobs.runs.results import TIMED_OUT, JobResult
from eventstate.runtime.clock import unique
from eventstate.stores.watching import Watch
from eventstate.transactions.locks import DistributedLock
from eventstate.transactions.renewal import Kept

if TYPE_CHECKING:
    from eventstate.jobs.queue.async_slots import AsyncAttempt


class AsyncWorker:
    """`Worker` for asyncio: its tools are coroutines in the loop it runs in, or functions in threads.

    A coroutine is cancelled when its time is up, its job is cancelled, its worker has lost it, or stops and the time of
    grace is over. It must not block the loop: a loop that stands still renews no lock, and its jobs become somebody
    else's. What blocks is a plain function, which gets a thread for each call. If it lets its cancellation pass by
    and goes on, it is given up like a function that does not end: its job is over, and what it comes to is late.

    Args:
        queue: where the jobs are.
        tools: by the name that jobs give: an `AsyncTool` or a `Tool`, a function ``(job, context)`` or a coroutine
            function.
        queues, name, slots, ttl, grace: as for `Worker`.
    """

    def __init__(
        self,
        queue: AsyncJobQueue,
        tools: Mapping[str, AnyTool | Callable[..., Any]],
        *,
        queues: Sequence[str] = ("default",),
        name: str | None = None,
        slots: int = 1,
        ttl: float = 30.0,
        grace: float = 30.0,
    ) -> None:
        from eventstate.jobs.queue.async_slots import AsyncSlots  # asyncio is for those who use it

        self._settings = Settings.of(name, queues, slots, ttl, grace)
        self.name = self._settings.name
        self._queueing = _queueing_of(queue)
        self._runtime = self._queueing.core.runtime
        self._telling = Telling(self._queueing)
        names = self._settings.queues
        self._slots = AsyncSlots(self._queueing, self._telling, async_tools(tools), names, slots, self._announce)
        self._lock: DistributedLock | None = None
        self._kept: Kept | None = None
        self._watch: Watch | None = None
        self._has_run = False
        self._is_stopping = False
        self._hurries = False
        self._was_cancelled = False
        self._lets_go = False

    @property
    def done(self) -> int:
        """How many attempts it has made."""
        return self._slots.done

    async def run(self, *, until_idle: bool = False) -> int:
        """As `Worker.run`.

        To cancel it is to stop it at once: tools are told to end, what is not done waits for another worker, and only
        then it raises. Cancelled again, it waits for no tool any more. In the main thread SIGTERM and SIGINT stop it
        gracefully, and a second one at once; unless the program, or the framework that it runs in, handles them.
        """
        from eventstate.runtime.calls import uninterrupted

        if self._has_run:
            raise InvalidInputError(f"worker {self.name!r} has run already: make a new one")
        self._has_run = True
        try:
            await self._begin()
        except BaseException:
            self._has_run = False
            raise
        with stopped_by_free_signals(lambda: self.stop(at_once=self._is_stopping)):
            await uninterrupted(self._work(until_idle=until_idle), self._cancelled)
        if self._slots.failure is not None:
            raise self._slots.failure
        return self._slots.done

    def stop(self, *, at_once: bool = False) -> None:
        """As `Worker.stop`. Returns at once; `run` ends when all is given back."""
        if at_once:
            self._hurries = True
            self._telling.hurry()
        self._is_stopping = True
        self._slots.close()
        self._announce()

    def _cancelled(self) -> None:
        self._lets_go = self._was_cancelled
        self._was_cancelled = True
        self.stop(at_once=True)

    def _announce(self) -> None:
        """Have it look at what there is to do."""
        watch = self._watch
        if watch is not None:
            watch.wake()

    # The lock

    async def _begin(self) -> None:
        ttl = self._settings.ttl
        locking = self._queueing.locking
        lock = await locking.acquire(
            worker_lock(self.name), unique(), ttl=ttl, wait=ttl + 1, purpose="jobs", reentrant=False
        )
        self._lock = lock
        self._kept = locking.renewal.keep(lock, self._announce)
        self._slots.mark = WorkerMark(self.name, lock.fence)

    async def _begin_anew(self) -> None:
        """After the lock was lost: its jobs are not its own any more."""
        self._slots.mark = None
        for attempt in self._slots.attempts:
            attempt.cancel()
        self._queueing.locking.renewal.drop(self._kept)
        await self._begin()
        self._slots.wake()

    @property
    def _is_lost(self) -> bool:
        return self._lock is None or self._lock.is_lost or self._slots.mark is None

    async def _end(self) -> None:
        locking = self._queueing.locking
        locking.renewal.drop(self._kept)
        if self._lock is not None and await self._slots.end_claims(0) and not self._slots.attempts:
            if self._slots.was_torn:
                with suppress(EventStateError):  # a commit that comes after those under way, so that these can be seen
                    await locking.locks.extend(self._lock, patiently=False)
            with suppress(EventStateError):  # what a claim that was not answered may have left
                await self._slots.reconcile()
            with suppress(EventStateError):
                await self._telling.forget_all()
            with suppress(EventStateError):
                await locking.release(self._lock)

    # Its own task

    async def _work(self, *, until_idle: bool) -> None:
        try:
            await self._serve(until_idle=until_idle)
        except Exception:
            raise
        except BaseException:  # the loop itself is ending, and cancels all its tasks
            self.stop(at_once=True)
            raise
        finally:
            self._is_stopping = True
            self._slots.close()
            await self._drain()
            await self._end()

    async def _serve(self, *, until_idle: bool) -> None:
        poll = IDLE_POLL_SECONDS if until_idle else POLL_SECONDS
        upkeep = Upkeep(self._settings.ttl / 3)
        with self._queueing.core.watch() as watch:
            self._watch = watch
            if self._is_stopping:
                return
            self._slots.open()
            while not self._is_stopping and self._slots.failure is None:
                try:
                    await self._look_after(upkeep)
                    if until_idle and await self._is_idle():
                        return
                except EventStateError as error:
                    if fate_of(error) not in AGAIN and not isinstance(error, LeaseLostError):
                        raise
                    await self._runtime.sleep(AGAIN_SECONDS)
                upkeep.minds = True
                if await watch.wait(min(poll, upkeep.pause(self._runtime.monotonic()))):
                    upkeep.calls = True
                    self._slots.wake()

    async def _look_after(self, upkeep: Upkeep) -> None:
        if self._is_lost:
            await self._begin_anew()
        now = self._runtime.monotonic()
        if now >= upkeep.sweep_at:
            upkeep.sweep_at = now + upkeep.every
            await self._sweep()
            upkeep.calls = True
        if upkeep.calls or now >= upkeep.due_at:
            upkeep.calls = False
            nearest = await self._queueing.releasing.call_due(self._settings.queues)
            upkeep.due_at = float("inf") if nearest is None else now + nearest / 1_000_000
        if upkeep.minds and now >= upkeep.mind_at:
            upkeep.minds = False
            upkeep.mind_at = now + MIND_SECONDS
            await self._mind()

    async def _sweep(self) -> None:
        """Do for the queue what nobody else may have done."""
        self._slots.doubt()
        await self._queueing.reaping.reap()
        await self._queueing.releasing.sweep()
        self._slots.breadth = await self._queueing.reaping.breadth()

    async def _mind(self) -> None:
        """See which attempts are to end."""
        attempts = self._slots.attempts
        if not attempts:
            return
        jobs = await self._queueing.survey.jobs([attempt.claim.job_id for attempt in attempts])
        for attempt in attempts:
            job = jobs.get(attempt.claim.job_id)
            if job is None or job.attempt != attempt.claim.attempt or job.cancel_requested or job.is_terminal:
                attempt.cancel()
            if attempt.is_overrun and attempt.give_up():
                await self._abandon(attempt)

    async def _abandon(self, attempt: AsyncAttempt) -> None:
        """End an attempt whose tool does not end; another one has its slot."""
        attempt.insist()
        seconds = attempt.context.seconds
        problem = f"timed out after {seconds:.1f} s, and its tool did not stop"
        await self._telling.tell(attempt.claim, JobResult(TIMED_OUT, duration_s=seconds, stderr=problem))
        self._slots.forget(attempt)

    async def _is_idle(self) -> bool:
        return self._slots.are_idle and await self._queueing.survey.is_idle(self._settings.queues)

    async def _drain(self) -> None:
        """Let jobs end; after the time of grace have them wait for somebody else."""
        now, slots = self._runtime.monotonic, self._slots
        grace = now() + self._settings.grace
        await slots.end_claims(self._settings.grace + UNWINDING_SECONDS)
        while slots.attempts and now() < grace and not self._hurries and not self._is_lost:
            with suppress(EventStateError):
                await self._mind()
            await slots.pause(0.1)
        for attempt in slots.attempts:
            attempt.stops = True
            attempt.cancel()
            if attempt.call is None:  # its task was cancelled before it had begun
                await self._let_go(attempt, is_running=False)
        slowest = max((attempt.grace for attempt in slots.attempts), default=0.0)
        unwinding = now() + slowest + UNWINDING_SECONDS
        while slots.attempts and now() < unwinding and not self._lets_go:
            await slots.pause(0.1)
        self._telling.hurry()
        for attempt in slots.attempts:
            await self._let_go(attempt, is_running=True)

    async def _let_go(self, attempt: AsyncAttempt, *, is_running: bool) -> None:
        """Have a job wait for somebody else, or be lost where its tool may go on."""
        if attempt.give_up():
            attempt.insist()
            with suppress(EventStateError):
                await self._telling.give_back(attempt.claim, "its worker was stopped", is_running=is_running)
            self._slots.forget(attempt)


def _queueing_of(queue: object) -> Queueing:
    """What a queue works through.

    Raises:
        ConfigurationError: it is no `AsyncJobQueue`.
    """
    if not isinstance(queue, AsyncJobQueue):
        raise ConfigurationError(f"an AsyncWorker takes an AsyncJobQueue, not {type(queue).__name__}")
    return queue._queueing  # pyright: ignore[reportPrivateUsage] - the two are one thing
