"""Bugs in queues of jobs: two workers for one job, jobs that nobody tells, late workers that still count."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from eventstate.core.leases import Fence
from eventstate.jobs.job import QUEUED, Job
from eventstate.jobs.queue import ending, enqueuing, layout
from eventstate.jobs.queue.chaining import Chained, Chaining, Report
from eventstate.jobs.queue.claiming import Claim, Claiming
from eventstate.jobs.queue.core import Doubt, QueueCore
from eventstate.jobs.queue.ending import Ending
from eventstate.jobs.queue.enqueuing import Enqueuing
from eventstate.jobs.queue.reaping import Reaping
from eventstate.jobs.queue.releasing import Releasing
from eventstate.jobs.queue.transaction import Moved, QueueTransaction
from eventstate.testing.conformance.job_chains import ChainCases
from eventstate.testing.conformance.job_queues import ClaimCases, DeadWorkerCases, JobQueueingCases
from eventstate.testing.planted.plant import Patch, Plant

_move = QueueTransaction.move


def _without_the_workers_fence() -> list[Patch]:
    run = QueueCore.run

    async def unfenced(self: QueueCore, operation: Any, *, fence: Any = None, **options: Any) -> Any:  # noqa: ARG001
        return await run(self, operation, **options)

    return [(QueueCore, "run", unfenced)]


def _attempt_not_compared() -> list[Patch]:
    async def running(_self: Ending, tx: QueueTransaction, claim: Claim) -> Job:
        job = await tx.job(claim.job_id)
        assert job is not None
        return job

    return [(Ending, "_running", running), *_without_the_workers_fence()]


def _fence_left_standing() -> list[Patch]:
    def stand(_self: QueueTransaction, _fence: Fence) -> None:
        """Nothing."""

    return [(QueueTransaction, "lower_fence", stand)]


def _slot_kept() -> list[Patch]:
    async def put_down(self: QueueTransaction, running_id: str, running: dict[str, Any], id: str) -> None:
        await self.delete(layout.RUNNING, running_id)
        self.lower_fence(Fence(self._governor, f"{layout.JOB_FENCE}{id}", running["fence"]))

    return [(QueueTransaction, "put_down", put_down)]


def _no_release() -> list[Patch]:
    async def move(self: QueueTransaction, id: str, event: Any, now: int) -> Moved:
        moved = await _move(self, id, event, now)
        if moved.release is not None:
            await self.delete(layout.RELEASES, moved.release)
        return moved

    return [(QueueTransaction, "move", move)]


def _needed_job_read_outside() -> list[Patch]:
    async def job(self: QueueTransaction, id: str) -> Job | None:
        key = self._core.reads
        found = await self._core.find(f"job-{id}")
        head = next((known for known in key.keys if known.id == f"job-{id}"), None)
        if head is not None and found is not None and found.data.status != QUEUED:
            key._seen.pop(head, None)
        return None if found is None else found.data

    return [(QueueTransaction, "job", job)]


def _released_whatever_it_needs() -> list[Patch]:
    async def let_one_go(
        _self: Releasing, tx: QueueTransaction, id: str, _need: str, _needed: Job, now: int
    ) -> str | None:
        job = await tx.job(id)
        if job is not None and job.status == QUEUED:
            await tx.delete(layout.WAITING, id)
            await tx.line_up(id, job, now)
        return None

    return [(Releasing, "_let_one_go", let_one_go)]


def _circles_not_looked_for() -> list[Patch]:
    def as_given(needs: Mapping[str, Sequence[str]]) -> list[str]:
        return list(needs)

    return [(enqueuing, "in_order", as_given)]


def _priority_forgotten() -> list[Patch]:
    def place_of(id: str, job: Job) -> str:
        return f"{0:07d}{job.queued_at or 0:016d}:{id}"

    return [(layout, "place_of", place_of)]


def _full_limits_not_looked_at() -> list[Patch]:
    async def no_slot(_self: Claiming, _tx: QueueTransaction, _limit: str) -> str | None:
        return None

    async def is_full(_self: Claiming, _limit: str) -> bool:
        return False

    return [(Claiming, "_free_slot", no_slot), (Claiming, "_is_full", is_full)]


def _one_lane() -> list[Patch]:
    def lane_of(queue: str, _limit: str | None) -> str:
        return f"{queue}//"

    return [(layout, "lane_of", lane_of)]


def _dead_without_ending_the_lock() -> list[Patch]:
    async def is_dead(self: Reaping, mark: Any) -> bool:
        state = await self._locks.look(mark.fence.resource)
        return state.last_lease is None or state.is_expired

    return [(Reaping, "_is_dead", is_dead)]


def _losses_without_end() -> list[Patch]:
    def after_loss(job: Job, worker: str, *, at: int) -> Any:
        from eventstate.jobs.job import JobRequeued

        return JobRequeued(at, "its worker died", worker, lost=True) if job.on_lost == "requeue" else None

    return [(ending, "after_loss", after_loss)]


def _same_request_not_known() -> list[Patch]:
    queue = Enqueuing._queue

    async def again(self: Enqueuing, tx: QueueTransaction, orders: Any) -> None:
        await queue(self, tx, [order for order in orders if await tx.job(order.id) is None])

    return [(Enqueuing, "_queue", again)]


def _end_lost_with_the_claim() -> list[Patch]:
    """The claim is taken for part of the end, so that its refusal is."""

    async def report(
        self: Chaining,
        claim: Claim,
        report: Any,
        doubt: Doubt,
        queues: Sequence[str],
        *,
        breadth: int = 1,
        forget: Sequence[str] = (),
    ) -> Any:
        return await self._report(claim, report, doubt, queues, breadth, forget)

    return [(Chaining, "report", report)]


def _doubt_of_both_forgotten() -> list[Patch]:
    report = Chaining.report

    async def forgetful(self: Chaining, claim: Claim, told: Any, _doubt: Doubt, *args: Any, **options: Any) -> Any:
        return await report(self, claim, told, Doubt(), *args, **options)

    return [(Chaining, "report", forgetful)]


def _chained_in_two_commits() -> list[Patch]:
    async def one_after_the_other(
        self: Chaining,
        claim: Claim,
        report: Report,
        doubt: Doubt,
        queues: Sequence[str],
        _breadth: int,
        forget: Sequence[str],
    ) -> Chained:
        moved = await self._ending.report(claim, *report, doubt)
        return Chained(moved, await self._claiming.claim(claim.worker, queues, forget=forget))

    return [(Chaining, "_report", one_after_the_other)]


def _needed_job_chained() -> list[Patch]:
    async def is_needed(_self: Chaining, _job_id: str) -> bool:
        return False

    return [(Chaining, "_is_needed", is_needed)]


JOB_QUEUE_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="queue-worker-unfenced",
        story="the head says whose the job is; the worker's lock need not be checked again",
        patches=_without_the_workers_fence,
        suite=ClaimCases,
        cases=["test_nothing_is_claimed_by_a_worker_that_has_lost_its_lock"],
    ),
    Plant(
        name="queue-any-attempt-counts",
        story="a result is a result",
        patches=_attempt_not_compared,
        suite=DeadWorkerCases,
        cases=["test_a_late_result_changes_nothing_and_is_told"],
    ),
    Plant(
        name="queue-fence-outlives-its-attempt",
        story="the next attempt has a fence of its own, so the old one does no harm",
        patches=_fence_left_standing,
        suite=DeadWorkerCases,
        cases=["test_what_a_late_attempt_writes_is_refused"],
    ),
    Plant(
        name="queue-slot-never-given-back",
        story="slots are given back by whoever looks after limits",
        patches=_slot_kept,
        suite=ClaimCases,
        cases=["test_limits_hold_and_hide_no_other_job"],
    ),
    Plant(
        name="queue-end-tells-nobody",
        story="the worker tells those that wait right afterwards anyway",
        patches=_no_release,
        suite=JobQueueingCases,
        cases=["test_a_release_that_was_left_is_worked_off_by_whoever_comes"],
    ),
    Plant(
        name="queue-needs-read-outside",
        story="a job that runs is far from its end, so it need not be checked at the commit",
        patches=_needed_job_read_outside,
        suite=JobQueueingCases,
        cases=["test_a_job_queued_while_the_one_it_needs_ends_is_not_forgotten"],
    ),
    Plant(
        name="queue-first-need-is-enough",
        story="it waited for this one, and this one has ended",
        patches=_released_whatever_it_needs,
        suite=JobQueueingCases,
        cases=["test_a_job_waits_for_all_that_it_needs"],
    ),
    Plant(
        name="queue-circles",
        story="nobody would write a circle",
        patches=_circles_not_looked_for,
        suite=JobQueueingCases,
        cases=["test_a_circle_is_named_and_nothing_is_queued"],
    ),
    Plant(
        name="queue-without-priorities",
        story="first come, first served",
        patches=_priority_forgotten,
        suite=JobQueueingCases,
        cases=["test_higher_priorities_go_first_then_those_that_came_first"],
    ),
    Plant(
        name="queue-limits-of-no-effect",
        story="limits are for the dashboard",
        patches=_full_limits_not_looked_at,
        suite=ClaimCases,
        cases=["test_limits_hold_and_hide_no_other_job", "test_two_claims_for_the_last_slot_of_a_limit"],
    ),
    Plant(
        name="queue-one-lane",
        story="one list sorted by priority is simpler",
        patches=_one_lane,
        suite=ClaimCases,
        cases=["test_limits_hold_and_hide_no_other_job"],
    ),
    Plant(
        name="queue-dead-by-a-look",
        story="a lease that was read as expired has expired",
        patches=_dead_without_ending_the_lock,
        suite=DeadWorkerCases,
        cases=["test_a_worker_renewed_in_the_last_moment_lives", "test_a_lease_that_runs_out_is_a_death"],
    ),
    Plant(
        name="queue-losses-without-end",
        story="it was not the job's fault that its worker died",
        patches=_losses_without_end,
        suite=DeadWorkerCases,
        cases=["test_a_job_that_kills_its_workers_is_dead_in_the_end"],
    ),
    Plant(
        name="queue-end-lost-with-the-claim",
        story="they are one commit, so either both happen or the caller is told why not",
        patches=_end_lost_with_the_claim,
        suite=ChainCases,
        cases=[
            "test_a_claim_that_is_refused_leaves_the_end_to_itself",
            "test_what_can_not_be_looked_up_does_not_keep_an_attempt_from_its_end",
        ],
    ),
    Plant(
        name="queue-doubt-of-both-forgotten",
        story="what could not be done together is begun anew alone",
        patches=_doubt_of_both_forgotten,
        suite=ChainCases,
        cases=["test_after_an_outage_the_end_finds_the_commit_of_both"],
    ),
    Plant(
        name="queue-chained-in-two-commits",
        story="two commits right after each other are as good as one",
        patches=_chained_in_two_commits,
        suite=ChainCases,
        cases=["test_an_end_and_the_next_claim_are_one_commit"],
    ),
    Plant(
        name="queue-chained-past-dependents",
        story="what waits for this job will have its turn after the next one",
        patches=_needed_job_chained,
        suite=ChainCases,
        cases=["test_what_an_end_makes_ready_has_its_turn"],
    ),
    Plant(
        name="queue-any-request-of-the-id",
        story="there is a job of this id, so it was queued",
        patches=_same_request_not_known,
        suite=JobQueueingCases,
        cases=["test_the_same_request_again_changes_nothing_another_is_refused"],
    ),
)
