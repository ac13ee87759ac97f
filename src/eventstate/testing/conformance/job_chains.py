"""What queues of jobs promise of an end and a claim in one commit: it is that, or the end alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventstate.core.documents import Batch, Page
from eventstate.core.expected import ANY
from eventstate.errors import LeaseLostError, StoreUnavailableError
from eventstate.jobs.queue.chaining import Chained, Report
from eventstate.jobs.queue.claiming import Candidate, Claim
from eventstate.jobs.queue.core import Doubt
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.rules import JobRules
from eventstate.stores.base import Store
from eventstate.testing.conformance.job_queues import QUEUES, JobQueueSuite, request, requests
from eventstate.testing.conformance.persisters import GOVERNOR
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.faults import Fault, FaultyStore


class ChainCases(JobQueueSuite):
    """An end and the next claim."""

    async def chained(self, queueing: Queueing, claim: Claim, outcome: str = "completed", **options: Any) -> Chained:
        """Both in one commit."""
        chained = await self.tried(queueing, claim, outcome, **options)
        assert chained is not None, "they were not made together"
        return chained

    async def tried(
        self, queueing: Queueing, claim: Claim, outcome: str = "completed", doubt: Doubt | None = None, **options: Any
    ) -> Chained | None:
        result, error = ({"value": 1}, None) if outcome == "completed" else (None, outcome)
        report = Report(outcome, result, error)
        return await queueing.chaining.report(claim, report, doubt or Doubt(), QUEUES, **options)

    async def ends_alone(self, store: Store, queueing: Queueing, claim: Claim) -> None:
        """Nothing of the two has happened, and the end alone goes as it always does."""
        assert await self.status(queueing, claim.job_id) == "running"
        await self.sound(store)
        assert (await self.done(queueing, claim)).status == "completed"
        await self.sound(store)

    @case
    async def test_an_end_and_the_next_claim_are_one_commit(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing = self.queueing(faulty)
        await queueing.enqueuing.queue_jobs([*requests("a", "b"), request("c", priority=1)])
        claim = await self.claimed(queueing, await self.worker(queueing))
        assert claim.job_id == "c"
        persister = self.persister(store)
        for ended, follows in (("c", "a"), ("a", "b"), ("b", None)):
            sent = len(faulty.sent)
            chained = await self.tried(queueing, claim)
            if chained is None:
                assert follows is None
                assert (await self.done(queueing, claim)).status == "completed"
                break
            assert len(faulty.sent) == sent + 1
            assert (chained.moved.job.status, chained.moved.release is not None) == ("completed", True)
            with raises(LeaseLostError):
                await persister.save_state("effect", {"by": ended}, expected=ANY, fence=claim.fence)
            following = chained.claim
            assert following is not None
            assert (following.job_id, following.attempt, following.job.status) == (follows, 1, "running")
            await persister.save_state("effect", {"by": following.job_id}, expected=ANY, fence=following.fence)
            await self.sound(store)
            claim = following
        await self.sound(store)

    @case
    async def test_a_claim_that_is_refused_leaves_the_end_to_itself(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing, others = self.queueing(faulty), self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b"))
        own, other = await self.worker(others, "own"), await self.worker(others, "other")
        claim = await self.claimed(queueing, own)

        async def meanwhile(_: Batch) -> None:
            faulty.before_commit = None
            assert (await self.claimed(others, other)).job_id == "b"

        faulty.before_commit = meanwhile
        doubt = Doubt()
        assert await self.tried(queueing, claim, doubt=doubt) is None
        assert doubt.token is None
        assert queueing.claiming.collisions == 1
        await self.ends_alone(store, queueing, claim)

    @case
    async def test_a_next_job_that_is_cancelled_meanwhile_is_not_begun(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing, others = self.queueing(faulty), self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b", "c"))
        claim = await self.claimed(queueing, await self.worker(others))

        honest = queueing.claiming.choose

        async def chosen(queues: Sequence[str], breadth: int) -> Candidate | None:
            queueing.claiming.choose = honest
            candidate = await honest(queues, breadth)
            assert await others.deciding.cancel("b", "not wanted") == "cancelled"
            return candidate

        async def before_the_commit(_: Batch) -> None:
            faulty.before_commit = None
            assert await others.deciding.cancel("c", "not wanted") == "cancelled"

        queueing.claiming.choose = chosen
        assert await self.tried(queueing, claim) is None
        faulty.before_commit = before_the_commit
        assert await self.tried(queueing, claim) is None
        await self.ends_alone(store, queueing, claim)
        assert [await self.status(queueing, id) for id in "bc"] == ["cancelled"] * 2

    @case
    async def test_a_job_cancelled_while_it_ends_is_told_so_alone(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing, others = self.queueing(faulty), self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b"))
        claim = await self.claimed(queueing, await self.worker(others))

        async def meanwhile(_: Batch) -> None:
            faulty.before_commit = None
            assert await others.deciding.cancel("a", "enough") == "running"

        faulty.before_commit = meanwhile
        assert await self.tried(queueing, claim, "failed") is None
        assert (await self.done(queueing, claim, "failed")).status == "cancelled"
        assert await self.status(queueing, "b") == "queued"
        await self.sound(store)

    @case
    async def test_a_job_cancelled_since_it_was_claimed_is_told_so(self) -> None:
        store = self.open()
        queueing, others = self.queueing(store), self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b", "c"))
        claim = await self.claimed(queueing, await self.worker(others))
        claim = (await self.chained(queueing, claim)).claim
        assert claim is not None
        assert await others.deciding.cancel("b", "enough") == "running"
        chained = await self.tried(queueing, claim, "failed")
        job = await self.done(queueing, claim, "failed") if chained is None else chained.moved.job
        assert (claim.job_id, job.status) == ("b", "cancelled")
        await self.sound(store)

    @case
    async def test_what_can_not_be_looked_up_does_not_keep_an_attempt_from_its_end(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b"))
        claim = await self.claimed(queueing, await self.worker(queueing))
        honest = queueing.core.list

        async def down(*_: Any, **__: Any) -> Page:
            raise StoreUnavailableError(store=store.url, detail="on purpose")

        queueing.core.list = down
        assert await self.tried(queueing, claim) is None
        queueing.core.list = honest
        await self.ends_alone(store, queueing, claim)

    @case
    async def test_lost_answers_end_and_claim_once(self) -> None:
        store = self.open()
        faulty = FaultyStore(store, runtime=self.world.steered())
        queueing = self.queueing(faulty)
        await queueing.enqueuing.queue_jobs(requests("a", "b", "c"))
        claim = await self.claimed(queueing, await self.worker(queueing))
        for fault, follows in ((Fault.LOST_ANSWER, "b"), (Fault.LOST_REQUEST, "c")):
            faulty.then(fault)
            chained = await self.chained(queueing, claim)
            assert chained.claim is not None
            assert (chained.moved.job.status, chained.claim.job_id) == ("completed", follows)
            claim = chained.claim
            await self.sound(store)
        entries = [document for document in (await store.scan("entry", GOVERNOR)).documents if "job" in document.key.id]
        assert len(entries) == 8  # three were queued, three have begun, two have ended
        await self.done(queueing, claim)
        await self.sound(store)

    @case
    async def test_after_an_outage_the_end_finds_the_commit_of_both(self) -> None:
        store = self.open()
        for number, fault in enumerate((Fault.LOST_ANSWER, Fault.LOST_REQUEST)):
            faulty = FaultyStore(store, runtime=self.world.steered())
            queueing = self.queueing(faulty)
            await queueing.enqueuing.queue_jobs(requests(f"a{number}", f"b{number}"))
            worker = await self.worker(queueing, f"w{number}")
            claim, doubt = await self.claimed(queueing, worker), Doubt()
            faulty.then(fault)
            sent = len(faulty.sent)

            async def cut(_: object, faulty: FaultyStore = faulty, sent: int = sent) -> None:
                if len(faulty.sent) > sent + 1:
                    raise StoreUnavailableError(store=store.url, detail="on purpose")

            async def cut_reads(_: object, faulty: FaultyStore = faulty, sent: int = sent) -> None:
                if len(faulty.sent) > sent:
                    raise StoreUnavailableError(store=store.url, detail="on purpose")

            faulty.before_commit, faulty.before_get = cut, cut_reads
            assert await self.tried(queueing, claim, doubt=doubt) is None
            assert doubt.token is not None
            faulty.before_commit = faulty.before_get = None
            moved = await queueing.ending.report(claim, "completed", {"value": 1}, None, doubt)
            assert (moved.job.status, moved.release is not None) == ("completed", True)
            applied = fault is Fault.LOST_ANSWER
            assert await self.status(queueing, f"b{number}") == ("running" if applied else "queued")
            await self.sound(store)
            await self.die(queueing, worker)  # nobody knows of that claim, so it is lost with its worker
            assert (await queueing.heal(QUEUES)).lost == ([f"b{number}"] if applied else [])
            await queueing.deciding.cancel(f"b{number}", None) if not applied else None
        await self.sound(store)

    @case
    async def test_a_worker_that_has_lost_its_lock_ends_and_claims_nothing(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b"))
        worker = await self.worker(queueing)
        claim = await self.claimed(queueing, worker)
        await self.die(queueing, worker)
        with raises(LeaseLostError):
            await self.tried(queueing, claim)
        assert [await self.status(queueing, id) for id in "ab"] == ["running", "queued"]
        assert (await queueing.heal(QUEUES)).lost == ["a"]
        with raises(LeaseLostError):
            await self.tried(queueing, claim)
        assert await self.status(queueing, "b") == "queued"
        await self.sound(store)

    @case
    async def test_what_an_end_makes_ready_has_its_turn(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        again = JobRules(max_retries=1, backoff=0)
        await queueing.enqueuing.queue_jobs(
            [request("a"), request("b", depends_on=["a"], priority=1), request("c", rules=again), request("d")]
        )
        worker = await self.worker(queueing)
        claim = await self.claimed(queueing, worker)
        assert await self.tried(queueing, claim) is None  # that would be c
        await self.ends_alone(store, queueing, claim)
        chained = await self.chained(queueing, await self.claimed(queueing, worker))
        assert (chained.moved.job.status, chained.claim and chained.claim.job_id) == ("completed", "c")
        assert chained.claim is not None
        chained = await self.chained(queueing, chained.claim, "failed")
        assert (chained.moved.job.status, chained.claim) == ("queued", None)
        await self.sound(store)
        assert await self.order_of(queueing, worker) == ["c", "d"]

    @case
    async def test_limits_hold_for_the_next_job(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.deciding.set_limit("one", 1)
        await queueing.enqueuing.queue_jobs(
            [request("free"), *requests("l1", "l2", limit="one", priority=-1), request("last", priority=-2)]
        )
        worker = await self.worker(queueing)
        chained = await self.chained(queueing, await self.claimed(queueing, worker))
        assert chained.claim is not None
        assert (chained.claim.job_id, chained.claim.slot) == ("l1", "one/000000")
        await self.sound(store)
        other = await self.claimed(queueing, worker)
        assert other.job_id == "last"  # the limit is full
        assert await self.tried(queueing, chained.claim) is None  # its end makes room for one that goes first
        await self.ends_alone(store, queueing, chained.claim)
        chained = await self.chained(queueing, other)
        assert chained.claim is not None
        assert (chained.claim.job_id, chained.claim.slot) == ("l2", "one/000000")
        await self.done(queueing, chained.claim)
        await self.sound(store, is_over=False)

    @case
    async def test_releases_go_with_the_next_claim(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b", "c"))
        claim = await self.claimed(queueing, await self.worker(queueing))
        releases: list[str] = []
        for _ in "ab":
            chained = await self.chained(queueing, claim, forget=releases)
            assert chained.moved.release is not None
            assert chained.claim is not None
            claim, releases = chained.claim, [chained.moved.release]
        left = (await queueing.core.list("release")).documents
        assert [document.key.id for document in left] == [f"release/{releases[0]}"]
        await self.done(queueing, claim)
        await self.sound(store)
