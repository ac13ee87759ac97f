"""Commit requests: of one batch, or of several that asyncio callers commit while others are under way.

Each batch would cost a request of its own, and with many callers the requests are most of the work. So those that
arrive in one turn of the event loop share one. It is one atomic commit: if it is applied, each of its batches is. If
it is refused, nothing was written, and each goes again alone to find out whether it was meant. If there is no answer,
there is none for any of them; each is settled by itself, as ever. A caller who comes when nothing is under way never
waits for company.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from eventstate.core.documents import Batch, Key
from eventstate.runtime.base import Runtime, Waiter
from eventstate.stores.firestore.errors import RpcError, is_refusal
from eventstate.stores.firestore.rpc import Message, Rpc

LARGEST_SHARE: Final = 32
"""Batches of one request: beyond it another saves little, and more callers wait for one slow document."""
LARGEST_BYTES: Final = 512 * 1024

_CUT_OFF: Final = RpcError("CANCELLED", "the request was cut off")


class Outgoing(NamedTuple):
    """A batch on its way.

    Attributes:
        writes: its part of a request.
        number: how many writes these are, and so how many results it has.
    """

    batch: Batch
    writes: bytes
    number: int


class Answer(NamedTuple):
    """Committed: one result for each write, and the whole response."""

    results: Sequence[Message]
    response: Message


Outcome: TypeAlias = Answer | RpcError


class _Waiting:
    """A caller whose batch shares a request. ``outcome`` None after the wait: send it alone."""

    __slots__ = ("is_wanted", "outcome", "outgoing", "waiter")

    def __init__(self, outgoing: Outgoing, waiter: Waiter) -> None:
        self.outgoing = outgoing
        self.waiter = waiter
        self.is_wanted = True
        self.outcome: Outcome | None = _CUT_OFF


class Sender:
    """Sends commits within ``timeout`` seconds each; ``prefix`` is what every request begins with."""

    def __init__(self, rpc: Rpc, runtime: Runtime, prefix: bytes, timeout: float, *, shares: bool) -> None:
        """``shares``: let callers share requests. For callers of one event loop only."""
        self._rpc = rpc
        self._runtime = runtime
        self._prefix = prefix
        self._timeout = timeout
        self._shares = shares
        self._share = LARGEST_SHARE
        self._under_way = 0
        self._queue: list[_Waiting] = []

    def size(self, writes: bytes) -> int:
        """Bytes of a request with these writes alone."""
        return len(self._prefix) + len(writes)

    async def send(self, outgoing: Outgoing) -> Outcome:
        """The server's answer to this batch, or the failure to get one."""
        if not self._shares:
            return await self._alone(outgoing, self._timeout)
        if not self._under_way:
            self._under_way += 1
            try:
                return await self._alone(outgoing, self._timeout)
            finally:
                self._under_way -= 1
        return await self._in_company(outgoing)

    async def _alone(self, outgoing: Outgoing, timeout: float) -> Outcome:
        try:
            response = await self._rpc.unary("Commit", self._prefix + outgoing.writes, timeout)
        except RpcError as error:
            return error
        return Answer(response.write_results, response)

    async def _in_company(self, outgoing: Outgoing) -> Outcome:
        deadline = self._runtime.monotonic() + self._timeout
        waiting = _Waiting(outgoing, self._runtime.waiter())
        if not self._queue:
            # Runs once the tasks that are ready now have had their turn.
            self._runtime.spawn(self._send_queue, "eventstate-firestore-commits")
        self._queue.append(waiting)
        try:
            await waiting.waiter.wait()
        except BaseException:
            waiting.is_wanted = False
            raise
        if waiting.outcome is None:
            return await self._alone(outgoing, max(deadline - self._runtime.monotonic(), 0))
        return waiting.outcome

    async def _send_queue(self) -> None:
        queue, self._queue = self._queue, []
        first, *others = self._shared([waiting for waiting in queue if waiting.is_wanted]) or [[]]
        for group in others:
            self._runtime.spawn(lambda group=group: self._send_group(group), "eventstate-firestore-commits")
        if first:
            await self._send_group(first)

    def _shared(self, queue: Sequence[_Waiting]) -> list[list[_Waiting]]:
        """Groups for one request each, in which no two batches name the same document."""
        groups: list[list[_Waiting]] = []
        keys: set[Key] = set()
        size = 0
        for waiting in queue:
            batch, writes, _ = waiting.outgoing
            own = [operation.key for operation in batch.operations]
            size += len(writes)
            if not groups or len(groups[-1]) >= self._share or size > LARGEST_BYTES or not keys.isdisjoint(own):
                groups.append([])
                keys = set()
                size = len(writes)
            groups[-1].append(waiting)
            keys.update(own)
        return groups

    async def _send_group(self, group: Sequence[_Waiting]) -> None:
        self._under_way += 1
        try:
            request = b"".join((self._prefix, *(waiting.outgoing.writes for waiting in group)))
            response = await self._rpc.unary("Commit", request, self._timeout)
            self._committed(group, response)
        except RpcError as error:
            self._failed(group, error)
        finally:
            self._under_way -= 1
            self._runtime.wake([waiting.waiter for waiting in group])

    def _committed(self, group: Sequence[_Waiting], response: Message) -> None:
        results = response.write_results
        start = 0
        for waiting in group:
            end = start + waiting.outgoing.number
            waiting.outcome = Answer(results[start:end], response)
            start = end
        self._share = min(self._share + 1, LARGEST_SHARE)

    def _failed(self, group: Sequence[_Waiting], error: RpcError) -> None:
        is_open = len(group) > 1 and is_refusal(error)
        if is_open:
            # Where refusals are frequent, sharing makes others wait for them.
            self._share = max(self._share // 2, 1)
        for waiting in group:
            waiting.outcome = None if is_open else error
