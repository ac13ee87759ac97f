"""Taking turns in one process: transactions that collided over a document go one after the other.

Without it the writers of a busy document mostly undo each other, and one of them may never win. It is a courtesy, not a
guarantee: correctness comes from the commit's preconditions, and other processes know nothing of it. So nobody
waits here for long.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from eventstate.core.documents import Key
from eventstate.runtime.base import Runtime, Waiter

PATIENCE_SECONDS = 2.0
"""A turn that takes longer is passed over."""

URGENT_ATTEMPT = 3
"""From this attempt on a transaction has the manager to itself."""

_ALL = Key("", "", "")
"""Stands for all documents."""


class Turns:
    """The queues of one manager, by document. Safe to use from many threads and tasks."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._mutex = threading.Lock()
        self._queues: dict[Key, deque[Turn]] = {}

    def turn(self) -> Turn:
        """What one attempt holds."""
        return Turn(self)

    def __bool__(self) -> bool:
        return bool(self._queues)

    async def enter(self, turn: Turn, key: Key, *, is_new: bool) -> None:
        """Wait until it is this attempt's turn. ``is_new`` opens a queue where there is none."""
        with self._mutex:
            queue = self._queues.get(key)
            if queue is None:
                if not is_new:
                    return
                queue = self._queues[key] = deque()
            if turn in queue:
                return
            queue.append(turn)
            turn.keys.append(key)
            if queue[0] is turn:
                return
            waiter = turn.waiter = self._runtime.waiter()
        await waiter.wait(PATIENCE_SECONDS)
        turn.waiter = None

    def leave(self, turn: Turn) -> None:
        """Let the next ones in."""
        woken: list[Waiter] = []
        with self._mutex:
            for key in turn.keys:
                queue = self._queues[key]
                was_first = queue[0] is turn
                queue.remove(turn)
                if not queue:
                    del self._queues[key]
                elif was_first and queue[0].waiter is not None:
                    woken.append(queue[0].waiter)
            turn.keys.clear()
        if woken:
            self._runtime.wake(woken)


class Turn:
    """The documents over which one attempt has gone before others, or waits to."""

    __slots__ = ("_turns", "keys", "waiter")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.keys: list[Key] = []
        self.waiter: Waiter | None = None

    async def begin(self, attempt: int, collided: Iterable[Key]) -> None:
        """Let the urgent ones go first, then queue for what the attempt before this one collided over, in one order."""
        if self._turns or attempt >= URGENT_ATTEMPT:
            # Whoever comes while somebody has everything to itself queues behind it, and is alone too.
            await self._turns.enter(self, _ALL, is_new=attempt >= URGENT_ATTEMPT)
            if self.keys:
                return
        for key in sorted(collided):
            await self._turns.enter(self, key, is_new=True)

    async def respect(self, key: Key) -> None:
        """Queue for a document that others have collided over, unless that could make two wait for each other."""
        if self._turns and not self.keys:
            await self._turns.enter(self, key, is_new=False)

    def end(self) -> None:
        """Let others go on."""
        if self.keys:
            self._turns.leave(self)
