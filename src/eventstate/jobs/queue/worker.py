"""A worker: a process that claims jobs and has tools do them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from eventstate.core.retrying import fate_of
from eventstate.errors import EventStateError, InvalidInputError, LeaseLostError
from eventstate.jobs.orchestrator.tool import Tool, Tools
from eventstate.jobs.queue.attempts import Attempt, Attempting
from eventstate.jobs.queue.job_queue import JobQueue, queueing_of
from eventstate.jobs.queue.layout import WorkerMark, worker_lock
from eventstate.jobs.queue.signals import stopped_by_signals
from eventstate.jobs.queue.slots import POLL_SECONDS, Slots
from eventstate.jobs.queue.telling import AGAIN, AGAIN_SECONDS
from eventstate.jobs.queue.upkeep import Settings, Upkeep
from eventstate.jobs.runs.results import TIMED_OUT, JobResult
from eventstate.runtime.blocking import drive
from eventstate.runtime.clock import unique
from eventstate.stores.watching import Watch
from eventstate.transactions.locks import DistributedLock
from eventstate.transactions.renewal import Kept

IDLE_POLL_SECONDS: Final = 0.1
"""How often a worker looks that is to end once there is nothing to do, which nobody tells."""
MIND_SECONDS: Final = 0.05
"""How often it looks at its running jobs at most, however often it is woken."""
UNWINDING_SECONDS: Final = 5.0
"""How long tools have to end once they are told to, when the worker stops; besides what they say that they take."""


class Worker:
    """Claims jobs of a queue, one for each slot, and has tools do them in threads.

    While it runs it holds a lock, renewed by a thread. If the process dies, the lock runs out, and other workers do
    with its jobs what their ``on_lost`` says. If it only hung, it notices on the way back: what it writes for jobs
    that are not its own any more is refused, and it begins anew.

    Args:
        queue: where the jobs are.
        tools: by the name that jobs give: a `Tool`, or a function ``(job, context)``. It calls ``context.check()``
            now and then, and passes ``context.fence`` as ``fence=`` to what it writes to the store.
        queues: which queues it works for.
        name: of its own among all workers; one is made by default.
        slots: how many jobs it does at the same time.
        ttl: seconds until it counts as dead once it does not renew its lock.
        grace: seconds that jobs have to end when it is stopped; then their tools are told to stop, and they wait again
            for another worker. With one whose tool does not stop, their ``on_lost`` says what is done.
    """

    def __init__(
        self,
        queue: JobQueue,
        tools: Mapping[str, Tool | Callable[..., Any]],
        *,
        queues: Sequence[str] = ("default",),
        name: str | None = None,
        slots: int = 1,
        ttl: float = 30.0,
        grace: float = 30.0,
    ) -> None:
        settings = Settings.of(name, queues, slots, ttl, grace)
        self.name = settings.name
        self._queueing = queueing_of(queue)
        self._queues = settings.queues
        self._attempting = Attempting(self._queueing, Tools.of(tools))
        self._slots = Slots(self._queueing, self._attempting, self._queues, self.name, self._announce)
        self._count = slots
        self._ttl = ttl
        self._grace = grace
        self._lock: DistributedLock | None = None
        self._kept: Kept | None = None
        self._watch: Watch | None = None
        self._stopping = False
        self._has_run = False
        self._hurries = threading.Event()

    @property
    def done(self) -> int:
        """How many attempts it has made."""
        return self._slots.done

    def run(self, *, until_idle: bool = False) -> int:
        """Work until it is stopped; how many attempts it made. Once for each worker.

        In the main thread SIGTERM and SIGINT stop it gracefully: a second one ends its jobs at once.

        Args:
            until_idle: stop once no job in its queues is ready, delayed or running, here or elsewhere.

        Raises:
            InvalidInputError: it has run already.
            LockTimeoutError: another worker has this name.
            StoreError and its kin: what the store can't do and waiting won't change.
        """
        if self._has_run:
            raise InvalidInputError(f"worker {self.name!r} has run already: make a new one")
        with stopped_by_signals(lambda: self.stop(at_once=self._stopping)):
            self._begin()
            self._has_run = True
            try:
                self._serve(until_idle=until_idle)
            finally:
                self._stopping = True
                self._slots.close()
                self._drain()
                self._end()
        if self._slots.failure is not None:
            raise self._slots.failure
        return self._slots.done

    def stop(self, *, at_once: bool = False) -> None:
        """Have it claim nothing more, and end once its jobs have ended or their time of grace is over. From any thread.

        Args:
            at_once: without a time of grace.
        """
        if at_once:
            self._hurries.set()
            self._attempting.hurry()
        self._stopping = True
        self._slots.close()
        self._announce()

    def _announce(self) -> None:
        """Wake the main thread."""
        watch = self._watch
        if watch is not None:
            watch.wake()

    # The lock

    def _begin(self) -> None:
        locking = self._queueing.locking
        lock = drive(
            locking.acquire(
                worker_lock(self.name),
                unique(),
                ttl=self._ttl,
                wait=self._ttl + 1,
                purpose="jobs",
                reentrant=False,
            )
        )
        self._lock = lock
        self._kept = locking.renewal.keep(lock, self._announce)
        self._slots.mark = WorkerMark(self.name, lock.fence)

    def _begin_anew(self) -> None:
        """After the lock was lost: its jobs are not its own any more."""
        self._slots.mark = None
        for attempt in self._slots.attempts:
            attempt.context.cancelled.set()
        self._queueing.locking.renewal.drop(self._kept)
        self._begin()
        self._slots.wake()

    @property
    def _is_lost(self) -> bool:
        return self._lock is None or self._lock.is_lost or self._slots.mark is None

    def _end(self) -> None:
        self._queueing.locking.renewal.drop(self._kept)
        if self._lock is not None and self._slots.end_claims(0) and not self._slots.attempts:
            with suppress(EventStateError):  # what a claim that was not answered may have left
                self._slots.reconcile()
            with suppress(EventStateError):
                self._attempting.forget_all()
            with suppress(EventStateError):
                drive(self._queueing.locking.release(self._lock))

    # The main thread

    def _serve(self, *, until_idle: bool) -> None:
        for _ in range(self._count):
            self._slots.open()
        poll = IDLE_POLL_SECONDS if until_idle else POLL_SECONDS
        upkeep = Upkeep(self._ttl / 3)
        with self._queueing.core.watch() as watch:
            self._watch = watch
            while not self._stopping and self._slots.failure is None:
                try:
                    self._look_after(upkeep)
                    if until_idle and self._is_idle():
                        return
                except EventStateError as error:
                    if fate_of(error) not in AGAIN and not isinstance(error, LeaseLostError):
                        raise
                    drive(self._queueing.core.runtime.sleep(AGAIN_SECONDS))
                upkeep.minds = True
                if drive(watch.wait(min(poll, upkeep.pause(time.monotonic())))):
                    upkeep.calls = True
                    self._slots.wake()

    def _look_after(self, upkeep: Upkeep) -> None:
        if self._is_lost:
            self._begin_anew()
        now = time.monotonic()
        if now >= upkeep.sweep_at:
            upkeep.sweep_at = now + upkeep.every
            self._sweep()
            upkeep.calls = True
        if upkeep.calls or now >= upkeep.due_at:
            upkeep.calls = False
            nearest = drive(self._queueing.releasing.call_due(self._queues))
            upkeep.due_at = float("inf") if nearest is None else now + nearest / 1_000_000
        if upkeep.minds and now >= upkeep.mind_at:
            upkeep.minds = False
            upkeep.mind_at = now + MIND_SECONDS
            self._mind()

    def _sweep(self) -> None:
        """Do for the queue what nobody else may have done."""
        self._slots.reconcile()
        drive(self._queueing.reaping.reap())
        drive(self._queueing.releasing.sweep())
        self._slots.breadth = drive(self._queueing.reaping.breadth())

    def _mind(self) -> None:
        """See which attempts are to end."""
        attempts = self._slots.attempts
        if not attempts:
            return
        jobs = drive(self._queueing.survey.jobs([attempt.claim.job_id for attempt in attempts]))
        for attempt in attempts:
            job = jobs.get(attempt.claim.job_id)
            if job is None or job.attempt != attempt.claim.attempt or job.cancel_requested or job.is_terminal:
                attempt.context.cancelled.set()
            if attempt.is_overrun and attempt.give_up():
                self._abandon(attempt)

    def _abandon(self, attempt: Attempt) -> None:
        """End an attempt whose tool does not end; its thread is lost until it does."""
        attempt.context.cancelled.set()
        seconds = time.monotonic() - attempt.context.started
        problem = f"timed out after {seconds:.1f} s, and its tool did not stop"
        self._attempting.tell(attempt.claim, JobResult(TIMED_OUT, duration_s=seconds, stderr=problem))
        self._slots.replace(attempt)

    def _is_idle(self) -> bool:
        return self._slots.are_idle and drive(self._queueing.survey.is_idle(self._queues))

    def _drain(self) -> None:
        """Let jobs end; after the time of grace have them wait for somebody else."""
        grace = time.monotonic() + self._grace
        self._slots.end_claims(self._grace + UNWINDING_SECONDS)
        while self._slots.attempts and time.monotonic() < grace and not self._hurries.is_set() and not self._is_lost:
            with suppress(EventStateError):
                self._mind()
            self._slots.pause(0.1)
        for attempt in self._slots.attempts:
            attempt.stops = True
            attempt.context.cancelled.set()
        slowest = max((attempt.grace for attempt in self._slots.attempts), default=0.0)
        unwinding = time.monotonic() + slowest + UNWINDING_SECONDS
        while self._slots.attempts and time.monotonic() < unwinding:
            self._slots.pause(0.1)
        self._attempting.hurry()
        for attempt in self._slots.attempts:
            if attempt.give_up():
                with suppress(EventStateError):
                    self._attempting.give_back(attempt.claim, "its worker was stopped", is_running=True)
                self._slots.forget(attempt)
