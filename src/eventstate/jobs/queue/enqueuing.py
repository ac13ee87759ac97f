"""Queueing jobs: one, or many that depend on each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from eventstate.errors import (
    AlreadyExistsError,
    InvalidInputError,
    JobNotFoundError,
)
from eventstate.jobs.job import CANCELLED, COMPLETED, JOBS, Job, JobCancelled
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.core import QueueCore
from eventstate.jobs.queue.graph import in_order
from eventstate.jobs.queue.requests import JobRequest, Order
from eventstate.jobs.queue.transaction import QueueTransaction
from eventstate.jobs.runs.scope import Parents, Scope
from eventstate.jobs.runs.specs import JobSpec

Request = JobRequest | JobSpec | Mapping[str, object]

CHUNK_OPERATIONS: Final = 420
CHUNK_BYTES: Final = 2_500_000
"""Of one commit, well below what a store takes."""
OPERATIONS_EACH: Final = 6
"""Entry, head, its place, its lane, its index, and one to spare; each job that it needs adds an edge and a check."""


class Enqueuing:
    """The ways into a queue."""

    def __init__(self, core: QueueCore) -> None:
        self._core = core
        self._scope = Scope(core.store, core.governor)

    async def queue_jobs(self, requests: Sequence[Request]) -> list[str]:
        """Queue jobs, those first that others depend on; their ids, as they came.

        Nothing is written unless all of them can be queued by themselves. They come in several commits where they
        are many; if one of those fails, the same call queues the rest.

        Raises:
            DependencyCycleError: they depend on each other in a circle.
            RunNotFoundError, WorkstreamNotFoundError: one belongs to what there is not.
            JobNotFoundError: one depends on a job that there is not.
            AlreadyExistsError: there is another job of this id.
            InvalidInputError, InvalidIdError, EncodingError: one can't be queued.
        """
        if isinstance(requests, str | Mapping) or not isinstance(requests, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError("queue_jobs takes a list of jobs; use queue_job for one")
        orders: dict[str, Order] = {}
        for request in requests:
            order = Order(JobRequest.of(request))
            earlier = orders.setdefault(order.id, order)
            if earlier.digest != order.digest:
                raise InvalidInputError(f"job {order.id!r} comes twice in this call, and not the same")
        await self._find_parents(orders.values())
        names = in_order({id: order.needs for id, order in orders.items()})
        await self._check_needs(orders)
        chunks = list(_chunks([orders[name] for name in names]))
        if len(chunks) > 1:
            await self._check_known(orders)
        for chunk in chunks:
            await self._core.run(lambda tx, chunk=chunk: self._queue(tx, chunk))
        return list(orders)

    async def _find_parents(self, orders: Iterable[Order]) -> None:
        """Note whose jobs they are, with the run of a workstream where only that is named."""
        found: dict[Parents, Parents] = {}
        for order in orders:
            named = order.parents
            if any(named):
                if named not in found:
                    found[named] = await self._scope.check_parents(named)
                order.parents = found[named]

    async def _check_needs(self, orders: Mapping[str, Order]) -> None:
        """Look for all jobs from elsewhere before the first commit, so that one that is missing stops all."""
        outside = {need for order in orders.values() for need in order.needs if need not in orders}
        for start in range(0, len(outside), 200):
            some = sorted(outside)[start : start + 200]
            missing = await self._core.missing([JOBS.state_id(id) for id in some])
            for id in (id for id in some if JOBS.state_id(id) in missing):
                raise JobNotFoundError(
                    governor=self._core.governor, job_id=id, detail="others can't depend on it; queue it first"
                )

    async def _check_known(self, orders: Mapping[str, Order]) -> None:
        """Look for other jobs of these ids before the first of several commits, so that one of them stops all."""
        ids = list(orders)
        for start in range(0, len(ids), 200):
            for state in await self._core.states([JOBS.state_id(id) for id in ids[start : start + 200]]):
                id = state.id.removeprefix(f"{JOBS.name}-")
                if state.data.request != orders[id].digest:
                    raise AlreadyExistsError(what="job", id=id)

    async def _queue(self, tx: QueueTransaction, orders: Sequence[Order]) -> None:
        lanes = {lane for order in orders if (lane := order.lane) is not None}
        now = await tx.read_ahead(
            {id for order in orders for id in (order.id, *order.needs)},
            [(layout.LANES, lane) for lane in lanes] or [(layout.BELLS, "0")],
        )
        for lane in sorted(lanes):
            if await tx.get(layout.LANES, lane) is None:
                await tx.put(layout.LANES, lane, {})
        for number, order in enumerate(orders):
            known = await tx.job(order.id)
            if known is None:
                await self._queue_one(tx, order, now, now + number)
            elif known.request != order.digest:
                raise AlreadyExistsError(what="job", id=order.id)

    async def _queue_one(self, tx: QueueTransaction, order: Order, now: int, at: int) -> None:
        # Each a microsecond after the one before it, so that they go in the order in which they were handed in.
        job = await tx.record(order.id, order.event(at))
        await tx.index(order.id, job)
        waits: dict[str, bool] = {}
        for need in order.needs:
            needed = await tx.job(need)
            if needed is None:
                raise JobNotFoundError(governor=self._core.governor, job_id=need, detail="others can't depend on it")
            required = need in order.depends_on
            if not needed.is_terminal or needed.asked:
                waits[need] = required
            elif required and needed.status != COMPLETED:
                await self._never(tx, order.id, job, need, needed, now)
                return
        await self._place(tx, order.id, job, waits, now)

    async def _never(self, tx: QueueTransaction, id: str, job: Job, need: str, needed: Job, now: int) -> None:
        """Of a job that can't ever begin."""
        await tx.move(id, JobCancelled(now, job.attempt, never_reason(need, needed.status)), now)

    async def _place(self, tx: QueueTransaction, id: str, job: Job, waits: dict[str, bool], now: int) -> None:
        if not waits:
            await tx.line_up(id, job, now)
            return
        await tx.put(layout.WAITING, id, {"on": waits, "queue": job.queue})
        for need in waits:
            await tx.put(layout.EDGES, layout.edge_id(need, id), {})


def never_reason(need: str, status: str) -> str:
    """Why a job was cancelled that depends on another."""
    return f"depends on {need}, which {'was cancelled' if status == CANCELLED else f'ended as {status}'}"


def _chunks(orders: Sequence[Order]) -> Iterator[list[Order]]:
    """Orders that fit into one commit each."""
    chunk: list[Order] = []
    operations = size = 0
    for order in orders:
        more = OPERATIONS_EACH + 2 * len(order.needs)
        taken = 2 * order.size + 4_000
        if chunk and (operations + more > CHUNK_OPERATIONS or size + taken > CHUNK_BYTES):
            yield chunk
            chunk, operations, size = [], 0, 0
        chunk.append(order)
        operations += more
        size += taken
    if chunk:
        yield chunk
