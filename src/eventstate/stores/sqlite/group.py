"""Group commit: callers that wait for the disk at the same time share one transaction and one sync.

Leader and followers. Whoever finds nobody leading leads: it takes all that wait, commits them together,
tells everyone, and hands the lead to the next in line. A lone sync caller leads on its own thread, without
any hop; asyncio callers have a worker thread lead for them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from eventstate.core.documents import Batch, CommitResult, Unknown
from eventstate.runtime.base import Runtime, Waiter
from eventstate.runtime.blocking import BlockingRuntime

MAX_GROUP = 256
CANCEL_PATIENCE_SECONDS = 5.0
STALL_SECONDS = 1.0

_MARKER: Final = Batch("", ())
"""Writes nothing; once it is told, all that was submitted before it is told."""


class Member:
    """One caller's batch on its way through a group."""

    __slots__ = ("batch", "error", "result", "runtime", "waiter")

    def __init__(self, batch: Batch, runtime: Runtime) -> None:
        self.batch = batch
        self.runtime = runtime
        self.waiter: Waiter
        self.result: CommitResult | None = None
        self.error: Exception | None = None

    @property
    def settled(self) -> bool:
        return self.result is not None or self.error is not None

    def outcome(self) -> CommitResult:
        """What it was told."""
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


class GroupCommit:
    """Gathers batches and has ``run`` commit them, one group at a time.

    ``run`` gives every member a result or an error; it is called by one thread at a time.
    ``after`` is called by the leader when its group has been told, for upkeep between commits.
    """

    def __init__(self, run: Callable[[Sequence[Member]], None], after: Callable[[], None]) -> None:
        self._run = run
        self._after = after
        self._mutex = threading.Lock()
        self._queue: deque[Member] = deque()
        self._leading = False
        """Somebody leads, or has been asked to."""
        self._running = False
        self._leader = 0
        self._asked: Runtime | None = None
        """Whose turn it is to lead: it may be a loop that does not turn just now."""
        self.quiet = threading.RLock()
        """Whoever holds it keeps commits and upkeep from running."""

    async def submit(self, batch: Batch, runtime: Runtime) -> CommitResult:
        """Commit a batch as part of a group; returns once its own outcome is known."""
        member = Member(batch, runtime)
        if isinstance(runtime, BlockingRuntime) and self._lead_alone(member):
            return member.outcome()
        member.waiter = runtime.waiter()
        with self._mutex:
            self._queue.append(member)
            if self._running and self._leader == threading.get_ident():
                self._running = False  # this thread led until an interrupt came before it could say that it ended
            # Who was asked to lead may be a task of the very loop that this thread is about to block.
            overdue = not self._running and self._asked is not runtime
            lead = not self._leading or overdue
            self._leading = True
            self._asked = runtime if lead else self._asked
        if lead:
            runtime.start(member.waiter, lambda: self._lead(member))
        try:
            await self._wait(member)
        except BaseException:
            await self._abandon(member)
            raise
        return member.outcome()

    def _lead_alone(self, member: Member) -> bool:
        """Commit a batch at once if nobody leads or waits: without a hop, a wait or a wake-up."""
        leads = False
        try:
            with self._mutex:
                leads = not (self._leading or self._running or self._queue)
                if leads:
                    self._leading = self._running = True
                    self._leader = threading.get_ident()
            if leads:
                with self.quiet:
                    try:
                        if member.batch.operations:
                            self._run((member,))
                    finally:
                        if member.result is None and member.error is None:
                            member.result = Unknown("the commit was interrupted")
                    self._after()
        finally:
            if leads:
                self._hand_over()
        return leads

    async def _wait(self, member: Member) -> None:
        if not isinstance(member.runtime, BlockingRuntime):
            await member.waiter.wait()
            return
        while not await member.waiter.wait(STALL_SECONDS):
            with self._mutex:
                stalled = not self._running
            if stalled:  # whoever was to lead was interrupted in a moment that nothing can guard
                member.runtime.start(member.waiter, lambda: self._lead(member))

    async def drain(self, runtime: Runtime) -> None:
        """Wait until everything submitted so far has its outcome."""
        await self.submit(_MARKER, runtime)

    async def _abandon(self, member: Member) -> None:
        """The caller was cancelled: take the batch back if it has not begun, else see it through.

        The first in line may have been given the lead already, so it stays and leads, for a while.
        """
        with self._mutex:
            if member in self._queue and self._queue[0] is not member:
                self._queue.remove(member)
                return
        # An interrupt may have come just when its thread was about to lead.
        member.runtime.start(member.waiter, lambda: self._lead(member))
        if not await member.waiter.wait(CANCEL_PATIENCE_SECONDS):
            self._leave(member)

    def _leave(self, member: Member) -> None:
        """Somebody else leads for too long: nobody may count on this member any more."""
        with self._mutex:
            if member not in self._queue:
                return
            self._queue.remove(member)
            heir = None if self._running else self._next_heir()
        if heir is not None:
            heir.runtime.start(heir.waiter, lambda: self._lead(heir), at_once=True)

    def _lead(self, heir: Member) -> None:
        leads = False
        try:
            with self._mutex:
                if not (heir.settled or self._running or not self._queue):
                    self._running = leads = True
                    self._leader = threading.get_ident()
            if leads:
                with self.quiet:
                    self._lead_group()
            elif heir.settled:
                # Another led in its place. This call may have used up the wake-up that tells the outcome.
                heir.runtime.wake([heir.waiter])
        finally:
            if leads:
                self._hand_over()

    def _lead_group(self) -> None:
        with self._mutex:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]
        try:
            work = [member for member in group if member.batch.operations]
            if work:
                self._run(work)
        finally:
            # Also after an interrupt: nobody may be left waiting, and a cut-off commit is unknown.
            for member in group:
                if not member.settled:
                    member.result = Unknown("the commit was interrupted")
            _tell(group)
        self._after()

    def _hand_over(self) -> None:
        with self._mutex:
            self._running = False
            if not self._queue:
                self._leading = False
                self._asked = None
                return
            heir = self._next_heir()
            # Through its loop, so that those just told can join. Not if others wait too: the loop may be held up.
            at_once = heir is not None and any(member.runtime is not heir.runtime for member in self._queue)
        if heir is not None:
            heir.runtime.start(heir.waiter, lambda: self._lead(heir), at_once=at_once)

    def _next_heir(self) -> Member | None:
        heir = self._queue[0] if self._queue else None
        self._leading = heir is not None
        self._asked = heir.runtime if heir is not None else None
        return heir


def _tell(group: Sequence[Member]) -> None:
    waiting: dict[int, tuple[Runtime, list[Waiter]]] = {}
    for member in group:
        waiting.setdefault(id(member.runtime), (member.runtime, []))[1].append(member.waiter)
    for runtime, waiters in waiting.values():
        runtime.wake(waiters)
