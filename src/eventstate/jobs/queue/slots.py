"""The threads of a worker: each claims a job, has its tool do it, and claims the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from eventstate.core.leases import Fence
from eventstate.core.retrying import fate_of
from eventstate.errors import EventStateError, LeaseLostError
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.attempts import Attempt, Attempting
from eventstate.jobs.queue.chaining import Report
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt, id_in
from eventstate.jobs.queue.layout import WorkerMark
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.telling import AGAIN
from eventstate.jobs.queue.transaction import Moved
from eventstate.runtime.blocking import drive
from eventstate.transactions.documents import value_of

POLL_SECONDS: Final = 2.0
"""How long a slot waits for a wake-up until it looks by itself."""
MAX_SLOTS: Final = 64
COUNT_SECONDS: Final = 1.0
"""How often a worker that collides with others counts them at most."""


class Slots:
    """The slots of one worker, and what runs in them. Used by its own threads and by the worker's main one.

    Attributes:
        mark: whom they claim for; None while that is nobody.
        breadth: among how many of the first jobs they choose.
        done: attempts made.
        failure: what no slot can go on after.

    Args:
        announce: called when there is something for the main thread to see.
    """

    def __init__(
        self, queueing: Queueing, attempting: Attempting, queues: Sequence[str], name: str, announce: Callable[[], None]
    ) -> None:
        self._queueing = queueing
        self._attempting = attempting
        self._queues = queues
        self._name = name
        self._announce = announce
        self._claiming = threading.Lock()
        self._changed = threading.Condition()
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._wakes = 0
        self._idle = 0
        self._threads = 0
        self._is_closed = False
        self._count_at = 0.0
        self._collisions = queueing.claiming.collisions
        self.mark: WorkerMark | None = None
        self.breadth = 1
        self.done = 0
        self.failure: BaseException | None = None

    def open(self) -> None:
        """Have one more slot."""
        with self._changed:
            self._threads += 1
        threading.Thread(target=self._serve, name=f"eventstate-{self._name}", daemon=True).start()

    def close(self) -> None:
        """Claim nothing more. What runs goes on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def end_claims(self, seconds: float) -> bool:
        """Wait for a claim that was under way when they were closed; False where that takes longer."""
        ended = self._claiming.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
        if ended:
            self._claiming.release()
        return ended

    def wake(self) -> None:
        """Have a slot that waits look for a job. One that finds one wakes the next."""
        with self._changed:
            self._wakes += 1
            self._changed.notify()

    def pause(self, seconds: float) -> None:
        """Wait a moment for attempts to end."""
        with self._changed:
            if self._attempts:
                self._changed.wait(seconds)

    @property
    def attempts(self) -> list[Attempt]:
        """What runs now."""
        with self._changed:
            return list(self._attempts.values())

    @property
    def are_idle(self) -> bool:
        """Whether nothing runs, and every slot has looked and found nothing."""
        with self._changed:
            return not self._attempts and self._idle >= self._threads

    def forget(self, attempt: Attempt) -> bool:
        """Note that an attempt has ended; False if that was known."""
        with self._changed:
            known = self._attempts.pop((attempt.claim.job_id, attempt.claim.attempt), None)
            self.done += known is not None
            return known is not None

    def replace(self, attempt: Attempt) -> None:
        """Have another slot for one whose tool does not end."""
        if self.forget(attempt):
            with self._changed:
                self._threads -= 1
            self.open()

    def reconcile(self) -> None:
        """Give back jobs that were claimed without knowing, since no answer came."""
        with self._claiming:
            mark = self.mark
            if mark is None:
                return
            page = drive(self._queueing.core.list(layout.RUNNING, f"{mark}/", limit=4 * MAX_SLOTS))
            for document in page.documents:
                running, id = value_of(document), id_in(document).partition("/")[2]
                if (id, running["attempt"]) not in self._attempts:
                    fence = Fence(self._queueing.core.governor, f"{layout.JOB_FENCE}{id}", running["fence"])
                    job = drive(self._queueing.survey.job(id))
                    claim = Claim(id, job, running["attempt"], mark, fence, running["slot"])
                    # One whose tool has done its work must not be done again but as its on_lost allows.
                    was_begun = self._attempting.has_untold(claim)
                    self._attempting.give_back(claim, "nobody knew of its claim", is_running=was_begun)

    # One slot

    def _serve(self) -> None:
        is_replaced = False
        attempt: Attempt | None = None
        try:
            # What was claimed with the end of the one before is done, also where they were closed right after it.
            while not is_replaced and (attempt is not None or not self._is_closed):
                seen = self._wakes
                attempt = attempt or self._claimed()
                if attempt is None:
                    with suppress(EventStateError):  # the next sweep does it too
                        self._attempting.forget_all()
                    self._await(seen)
                    continue
                following: Attempt | None = None
                try:
                    following = self._attempting.perform(attempt, self._chained)
                finally:
                    is_replaced = not self.forget(attempt)
                attempt = following
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.failure = self.failure or error
            self._announce()
        finally:
            if not is_replaced:
                with self._changed:
                    self._threads -= 1

    def _claimed(self) -> Attempt | None:
        """The next job, which is known to be this worker's before anybody can look."""
        with self._claiming:
            mark = self.mark
            if mark is None or self._is_closed:
                return None
            claim = self._claim(mark)
            if claim is None:
                return None
            attempt = self._begun(claim)
        self.wake()  # where one job was ready there may be more
        return attempt

    def _chained(self, ended: Claim, report: Report, doubt: Doubt) -> tuple[Moved, Attempt | None] | None:
        """End an attempt and claim the next job in one commit; None where they must not wait for each other."""
        if not self._claiming.acquire(blocking=False):
            return None
        try:
            mark = self.mark
            if self._is_closed or mark is None or mark != ended.worker:
                return None
            releases = self._attempting.worked_off()
            chained = drive(
                self._queueing.chaining.report(
                    ended, report, doubt, self._queues, breadth=self.breadth, forget=releases
                )
            )
            if chained is None:
                return None
            if chained.claim is None:
                return chained.moved, None
            self._attempting.removed(releases)
            attempt = self._begun(chained.claim)
        finally:
            self._claiming.release()
        self.wake()
        return chained.moved, attempt

    def _begun(self, claim: Claim) -> Attempt:
        attempt = self._attempting.attempt(claim)
        with self._changed:
            self._attempts[claim.job_id, claim.attempt] = attempt
        return attempt

    def _claim(self, mark: WorkerMark) -> Claim | None:
        releases = self._attempting.worked_off()
        claiming = self._queueing.claiming
        try:
            claim = drive(claiming.claim(mark, self._queues, breadth=self.breadth, forget=releases))
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
            self._attempting.removed(releases)
        if self._collisions != claiming.collisions and time.monotonic() >= self._count_at:
            self._collisions = claiming.collisions
            self._count_at = time.monotonic() + COUNT_SECONDS
            with suppress(EventStateError):  # a claim that was had must not be lost over it
                self.breadth = drive(self._queueing.reaping.breadth())
        return claim

    def _await(self, seen: int) -> None:
        with self._changed:
            self._idle += 1
            if self._wakes == seen and not self._is_closed:
                self._changed.wait(POLL_SECONDS)
            self._idle -= 1
