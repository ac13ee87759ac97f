"""Jobs done by workers that crash, stand still and come back late: each attempt is one worker's, and all jobs end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from eventstate.core.documents import Document
from eventstate.core.expected import ANY
from eventstate.core.leases import Fence
from eventstate.errors import (
    CommitUnknownError,
    ConflictError,
    InvalidInputError,
    JobFinishedError,
    JobNotFoundError,
    LeaseLostError,
    LockTimeoutError,
    StoreUnavailableError,
)
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.chaining import Report
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt, id_in
from eventstate.jobs.queue.layout import WorkerMark, worker_lock
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.requests import JobRequest
from eventstate.jobs.queue.rules import JobRules
from eventstate.jobs.queue.transaction import Moved
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.machine import Machine
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.queues import check_queue
from eventstate.testing.simulation import Simulation
from eventstate.transactions.documents import value_of
from tests.simulation.queue_rules import QueueRules
from tests.simulation.world import World, any_weather

GOVERNOR: Final = "jobs"
QUEUES: Final = ("default",)
LIMIT: Final = "press"
IDS: Final = ("a", "b", "c", "d")
SHORT: Final = 5.0
LONG: Final = 60.0
TRIES: Final = 4
UNSURE = (ConflictError, StoreUnavailableError, CommitUnknownError)
REFUSED = (JobFinishedError, JobNotFoundError)


@dataclass(frozen=True, slots=True)
class Done:
    """What a tool has done, written under the fence of its attempt."""

    job: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Ledger:
    times: int = 0


def evolve(ledger: Ledger, _event: Done) -> Ledger:
    return Ledger(ledger.times + 1)


LEDGERS: Final[Machine[Ledger, Any]] = Machine("ledger", Ledger(), evolve)


async def working(simulation: Simulation) -> None:
    """Workers do what somebody queues, cancels, limits and decides meanwhile; what is left is done at the end."""
    chance = simulation.random
    weather = any_weather(chance)
    if not weather.is_fair:
        weather = weather._replace(pauses=chance.choice((0, 1, 2, 3)), outages=chance.choice((0, 0, 1, 2)))
    workers = chance.choice((1, 2, 2, 3))
    world = World(simulation, workers + 1, weather, steps=300, longest_pause=3 * SHORT)
    rules = QueueRules(world, GOVERNOR)
    people = People(world, workers)
    people.prepare(world.disk)
    ttl = chance.choice((SHORT, SHORT, LONG))
    running = [Worker(world, rules, number, ttl).run() for number in range(workers)]
    await world.run(list(enumerate([*running, people.run()])))
    await world.all_delivered()
    await simulation.runtime.sleep(ttl + 5)
    await _finish(world, rules)
    for id, status in people.told.items():
        assert rules.told[id].job.status == status, f"{id} was said to be {status}"


async def _until_sure(call: Callable[[], Awaitable[Any]], simulation: Simulation) -> Any:
    """The result of a call that may be made again, as long as there is hope; raises the last error."""
    for _ in range(TRIES):
        try:
            return await call()
        except UNSURE:
            await simulation.runtime.sleep(0.25)
    return await call()


class People:
    """Somebody who queues jobs, and decides about them.

    Attributes:
        told: jobs that can't change any more, says the queue.
    """

    def __init__(self, world: World, number: int) -> None:
        self.told: dict[str, str] = {}
        self._simulation = world.simulation
        self._chance = world.simulation.random
        self._queueing = Queueing(world.lines[number], GOVERNOR)
        self._orders: list[list[JobRequest]] = []

    def prepare(self, disk: Store) -> None:
        """Have some jobs be there from the beginning, and the others be queued later, in one call or in several."""
        chance = self._chance
        queueing = Queueing(disk, GOVERNOR)
        requests = [self._request(number) for number in range(len(IDS))]
        if chance.random() < 0.5:
            drive(queueing.deciding.set_limit(LIMIT, 1))
        first = chance.choice((0, 2, 3, len(requests)))
        drive(queueing.enqueuing.queue_jobs(requests[:first]))
        each = chance.choice((1, len(requests)))
        self._orders = [requests[n : n + each] for n in range(first, len(requests), each)]

    async def run(self) -> None:
        chance = self._chance
        for order in self._orders:
            await self._try(lambda order=order: self._queueing.enqueuing.queue_jobs(order))
        for _ in range(chance.randrange(5)):
            await self._simulation.runtime.sleep(chance.random() * SHORT)
            await self._decide(chance.choice(IDS))

    def _request(self, number: int) -> JobRequest:
        chance = self._chance
        needs, is_patient = [id for id in IDS[:number] if chance.random() < 0.25], chance.random() < 0.4
        rules = JobRules(
            max_retries=chance.choice((0, 1, 2)),
            backoff=0.5,
            escalate_after=chance.choice((None, None, 1)),
            max_losses=2,
        )
        return JobRequest(
            job_id=IDS[number],
            tool="t",
            priority=chance.choice((0, 0, 1)),
            depends_on=() if is_patient else needs,
            after=needs if is_patient else (),
            delay=chance.choice((None, None, None, 1.0)),
            limit=chance.choice((None, LIMIT)),
            on_lost=chance.choice(("fail", "requeue", "requeue", "ask")),
            rules=rules,
        )

    async def _try(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await _until_sure(call, self._simulation)
        except (*UNSURE, *REFUSED):
            return None

    async def _decide(self, id: str) -> None:
        chance, deciding = self._chance, self._queueing.deciding
        what = chance.randrange(5)
        if what == 0:
            if await self._try(lambda: deciding.cancel(id, None)) == "cancelled":
                self.told[id] = "cancelled"
        elif what == 1:
            most = chance.choice((1, 2, None))
            await self._try(lambda: deciding.set_limit(LIMIT, most))
        elif what == 2:
            await self._try(lambda: deciding.revive(id, None))
        elif what == 3:
            await self._try(lambda: self._queueing.heal(QUEUES))
        else:
            answer = chance.choice(("requeue", "fail"))
            with suppress(InvalidInputError):  # nobody is asked about it
                await self._try(lambda: deciding.answer(id, answer, None))


class Worker:
    """Claims jobs, does them, and looks after the queue, as a worker with one slot does."""

    def __init__(self, world: World, rules: QueueRules, number: int, ttl: float) -> None:
        self._world = world
        self._process = world.processes[number]
        self._ttl = ttl
        self._rules = rules
        self._simulation = world.simulation
        self._chance = world.simulation.random
        self._name = f"w{number}"
        line = world.lines[number]
        self._queueing = Queueing(line, GOVERNOR)
        self._persister = AsyncStateMachinePersister(line, governor=GOVERNOR, machines=[LEDGERS])
        self._released: list[str] = []

    async def run(self) -> None:
        locking = self._queueing.locking
        for life in range(2):
            try:
                lock = await locking.acquire(
                    worker_lock(self._name),
                    f"{self._name}.{life}",
                    ttl=self._ttl,
                    wait=self._ttl + 1,
                    purpose=None,
                    reentrant=False,
                )
            except (LockTimeoutError, *UNSURE):
                continue
            kept = locking.renewal.keep(lock, lambda: None) if self._chance.random() < 0.7 else None
            try:
                await self._serve(WorkerMark(self._name, lock.fence))
                if self._chance.random() < 0.5:
                    await locking.release(lock)
            except (LeaseLostError, *UNSURE):
                continue
            finally:
                locking.renewal.drop(kept)

    async def _serve(self, mark: WorkerMark) -> None:
        for _ in range(4):
            claim = await self._claim(mark)
            if claim is None:
                await self._look_after(mark)
            while claim is not None:  # the next one may have been claimed with its end
                claim = await self._attempt(claim)
        await self._reconcile(mark)
        if self._released:
            await self._queueing.releasing.forget(self._released)

    async def _claim(self, mark: WorkerMark) -> Claim | None:
        forget = list(self._released)
        breadth = self._chance.choice((1, 4))
        try:
            claim = await self._queueing.claiming.claim(mark, QUEUES, breadth=breadth, forget=forget)
        except LeaseLostError:
            raise
        except UNSURE:
            return None
        if claim is not None:
            self._begins(claim, forget)
        return claim

    def _begins(self, claim: Claim, forgotten: list[str]) -> None:
        self._rules.believed(claim)
        self._released = [release for release in self._released if release not in forgotten]

    async def _look_after(self, mark: WorkerMark) -> None:
        """Do for the queue what nobody else may have done, or wait a while."""
        queueing, chance = self._queueing, self._chance
        await self._simulation.runtime.sleep(chance.random() * chance.choice((0.5, 1.5 * SHORT)))
        for call in (
            lambda: self._reconcile(mark),
            queueing.reaping.reap,
            queueing.releasing.sweep,
            lambda: queueing.releasing.call_due(QUEUES),
        ):
            try:
                await call()
            except UNSURE:
                continue

    async def _reconcile(self, mark: WorkerMark) -> None:
        """Give back what was claimed without an answer: it works on nothing now."""
        for document in (await self._queueing.core.list(layout.RUNNING, f"{mark}/")).documents:
            await self._give_back(await self._claim_of(mark, document))

    async def _claim_of(self, mark: WorkerMark, document: Document) -> Claim:
        running, id = value_of(document), id_in(document).partition("/")[2]
        fence = Fence(GOVERNOR, f"{layout.JOB_FENCE}{id}", running["fence"])
        return Claim(id, await self._queueing.survey.job(id), running["attempt"], mark, fence, running["slot"])

    # One attempt

    async def _attempt(self, claim: Claim) -> Claim | None:
        """Do a job; the next one, if it was claimed with its end."""
        chance = self._chance
        await self._simulation.runtime.sleep(chance.random() * chance.choice((0.1, 0.1, 1.2 * SHORT)))
        if chance.random() < 0.5:
            await self._take_effect(claim)
        way = chance.random()
        if way < 0.1:
            return None  # it forgets what it was doing; a sweep finds out
        if way < 0.25:
            await self._give_back(claim)
            return None
        return await self._report(claim)

    async def _take_effect(self, claim: Claim) -> None:
        try:
            done = Done(claim.job_id, claim.attempt)
            await self._persister.append(LEDGERS, claim.job_id, done, expected=ANY, fence=claim.fence)
        except LeaseLostError:
            assert not self._rules.counts(claim.job_id, claim.attempt), f"{claim} goes on, and its fence was refused"
        except UNSURE:
            return

    async def _report(self, claim: Claim) -> Claim | None:
        outcome = self._chance.choice(("completed", "completed", "failed", "timeout"))
        report, doubt = Report(outcome, {}, None if outcome == "completed" else outcome), Doubt()
        following: Claim | None = None
        if self._chance.random() < 0.5:
            self._world.lose_sight(self._process)
        try:
            forget = list(self._released)
            chained = None
            if self._chance.random() < 0.7:
                chained = await self._queueing.chaining.report(claim, report, doubt, QUEUES, forget=forget)
            if chained is not None:
                moved, following = chained
                if following is not None:
                    self._begins(following, forget)
            else:
                ending = self._queueing.ending
                moved = await _until_sure(lambda: ending.report(claim, *report, doubt), self._simulation)
        except LeaseLostError:
            self._rules.must_be_over(claim)
            self._rules.must_not_have_been_reported(claim)
            await self._report_late(claim, outcome)
            return None
        except UNSURE:
            return None
        await self._ended(claim, moved)
        return following

    async def _give_back(self, claim: Claim) -> None:
        doubt, is_running = Doubt(), self._chance.random() < 0.2
        ending = self._queueing.ending
        if is_running:
            self._rules.gives_up(claim)
        try:
            moved = await _until_sure(
                lambda: ending.give_back(claim, "stopped", doubt, is_running=is_running), self._simulation
            )
        except LeaseLostError:
            self._rules.must_be_over(claim)
        except UNSURE:
            return
        else:
            await self._ended(claim, moved)

    async def _ended(self, claim: Claim, moved: Moved) -> None:
        self._rules.must_have_ended(claim, moved.job.status)
        if moved.release is None:
            return
        try:
            await self._queueing.releasing.release(moved.release, forget=False)
        except UNSURE:
            return
        self._released.append(moved.release)

    async def _report_late(self, claim: Claim, outcome: str) -> None:
        try:
            await self._queueing.ending.report_late(claim, outcome, {})
        except UNSURE:
            return


async def _finish(world: World, rules: QueueRules) -> None:
    """One who is never disturbed does all that is left: nothing may be lost."""
    queueing = Queueing(world.disk, GOVERNOR)
    lock = drive(queueing.locking.acquire(worker_lock("heir"), "heir", ttl=3600, wait=0, purpose=None, reentrant=False))
    mark = WorkerMark("heir", lock.fence)
    for _ in range(100):
        drive(queueing.heal(QUEUES))
        asked, _ = drive(queueing.survey.asked_page(None, None))
        for one in asked:
            drive(queueing.deciding.answer(one.job_id, "fail", None))
        claim = drive(queueing.claiming.claim(mark, QUEUES))
        if claim is not None:
            rules.believed(claim)
            drive(queueing.ending.report(claim, "completed", {}, None))
        elif not asked and drive(queueing.survey.is_idle([*QUEUES])):
            break
        await world.simulation.runtime.sleep(0.5)
    problems = drive(check_queue(world.disk, GOVERNOR, ledger=LEDGERS.name, is_over=True))
    assert problems == [], problems
