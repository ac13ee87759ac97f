"""Task statuses: who may report what, the lowest of many, subscriptions without gaps, jobs that end."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from eventstate.core.documents import FENCE, FeedPage, Key, Page
from eventstate.core.expected import ANY
from eventstate.errors import (
    DocumentTooLargeError,
    EncodingError,
    IdempotencyMismatchError,
    InvalidIdError,
    InvalidInputError,
    JobClosedError,
    JobNotFoundError,
    StoreUnavailableError,
    TaskIndexError,
    TaskMismatchError,
    TaskStatusNotFoundError,
)
from eventstate.jobs.tasks.async_job_tasks import AsyncJobTasks
from eventstate.jobs.tasks.following import TaskUpdate
from eventstate.jobs.tasks.job_tasks import JobTasks
from eventstate.jobs.tasks.policies import TaskOutcome, TaskPhase, none_failed, quorum
from eventstate.jobs.tasks.status import FINISHED, TaskStatus
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import PersisterSuite
from eventstate.testing.conformance.suite import case, exists, raises, remove
from eventstate.testing.faults import Fault, FaultyStore

JOB = "nightly"
Told = tuple[int, str, int, int]
"""Task, tag, status, version."""


class Awaited:
    """Something of either face: its methods are awaited."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **options: Any) -> Any:
            result = getattr(self.inner, name)(*args, **options)
            return await result if inspect.isawaitable(result) else result

        return call


class Tasks(Awaited):
    """The tasks of a job, of either face."""

    def reporter(self, task: int, **options: Any) -> Awaited:
        return Awaited(self.inner.reporter(task, **options))

    async def report(self, task: int, status: int, tag: str = "main", **options: Any) -> TaskStatus:
        return await self.reporter(task).report(status, tag=tag, **options)

    async def listen(self, **options: Any) -> Listener:
        subscription = self.inner.subscribe(**options)
        return Listener(await subscription if inspect.isawaitable(subscription) else subscription)


class Listener(Awaited):
    """A subscription of either face."""

    patience: ClassVar[float] = 20.0
    """Seconds after which an update counts as missed."""

    async def take(self, count: int) -> list[TaskUpdate]:
        """So many updates, or as many as come in time."""
        found: list[TaskUpdate] = []
        while len(found) < count and (update := await self.next(timeout=self.patience)) is not None:
            found.append(update)
        return found

    async def rest(self) -> list[TaskUpdate]:
        """All updates until it ends."""
        return await self.take(1_000_000)


class ScanHook(FaultyStore):
    """A store where something happens before or after the scans of heads."""

    def __init__(self, store: Store, before: Callable[[], Awaitable[Any]], after: Callable[[], Awaitable[Any]]) -> None:
        super().__init__(store)
        self._before = before
        self._after = after

    async def scan(
        self,
        kind: str,
        owner: str,
        *,
        id: str | None = None,
        prefix: str = "",
        after: Key | None = None,
        limit: int = 1000,
    ) -> Page:
        before, self._before = self._before, _nothing
        await before()
        page = await super().scan(kind, owner, id=id, prefix=prefix, after=after, limit=limit)
        happening, self._after = self._after, _nothing
        await happening()
        return page


class AwayStore(FaultyStore):
    """A store whose feed does not answer for a while."""

    unanswered = 0

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        if self.unanswered:
            self.unanswered -= 1
            raise StoreUnavailableError(store=self.url, detail="no connection")
        return await super().feed(after, limit=limit)


async def _nothing() -> None:
    pass


def told(statuses: Sequence[TaskStatus]) -> list[Told]:
    return [(status.task, status.tag, status.status, status.version) for status in statuses]


def live(updates: Sequence[TaskUpdate]) -> list[Told]:
    """What came live, and nothing else did."""
    assert not any(update.replay for update in updates), updates
    return told([update.status for update in updates])


class TaskCases(PersisterSuite):
    """What the task statuses of a job promise on every backend."""

    many: ClassVar[int] = 260
    """Statuses whose deletion takes more operations than one commit may have."""

    async def job(self, store: Store | None = None, *, job: str = JOB, tasks: int | None = 3) -> Tasks:
        """A job on a store of this test."""
        store = self.open() if store is None else store
        if self.world.name == "sync":
            return Tasks(JobTasks(store, job, tasks=tasks))
        return Tasks(await AsyncJobTasks(store, job, tasks=tasks))

    # The job

    @case
    async def test_the_first_number_of_tasks_stays(self) -> None:
        store = self.open()
        assert (await self.job(store, tasks=3)).inner.tasks == 3
        assert (await self.job(store, tasks=9)).inner.tasks == 3
        again = await self.job(store, tasks=None)
        assert (again.inner.tasks, again.inner.job, again.inner.governor) == (3, JOB, f"jobs/{JOB}")

    @case
    async def test_a_job_that_nobody_created_is_not_there(self) -> None:
        store = self.open()
        with raises(JobNotFoundError):
            await self.job(store, tasks=None)
        assert await store.owners() == []

    @case
    async def test_many_create_one_job(self) -> None:
        store = self.open()
        made = await self.together([partial(self.job, store, tasks=tasks) for tasks in range(2, 6)])
        assert len({tasks.inner.tasks for tasks in made}) == 1

    @case
    async def test_what_can_not_be_a_job_is_refused(self) -> None:
        store = self.open()
        for tasks in (0, -1, True, 1.5, "3", 10_000_000):
            with raises(InvalidInputError):
                await self.job(store, tasks=tasks)  # type: ignore[arg-type]
        for job in ("", "x" * 1400, "a\n"):
            with raises(InvalidIdError):
                await self.job(store, job=job)
        assert await store.owners() == []

    # Reports

    @case
    async def test_versions_count_reports_of_a_task_and_tag(self) -> None:
        tasks = await self.job()
        reporter = tasks.reporter(1)
        assert [(await reporter.report(n, tag="build")).version for n in (5, 3, -7)] == [1, 2, 3]
        assert (await reporter.report(5, tag="test")).version == 1
        assert (await tasks.report(2, 5, "build")).version == 1
        found = await tasks.get(task=1, tag="build")
        assert (found.job, found.task, found.tag, found.status, found.version) == (JOB, 1, "build", -7, 3)

    @case
    async def test_named_statuses(self) -> None:
        reporter = (await self.job()).reporter(0)
        found = [
            await reporter.started(message="on its way"),
            await reporter.finished(payload={"rows": 3}),
            await reporter.failed("disk full"),
            await reporter.failed("odd", status=-9, tag="x"),
        ]
        assert [status.status for status in found] == [1, FINISHED, -1, -9]
        assert [status.phase for status in found] == [TaskPhase.RUNNING, *[TaskPhase.DONE] * 3]
        assert [status.outcome for status in found] == [None, TaskOutcome.SUCCEEDED, *[TaskOutcome.FAILED] * 2]
        assert found[2].message == "disk full"
        with raises(InvalidInputError):
            await reporter.failed("not at all", status=0)

    @case
    async def test_a_reporter_is_bound_to_its_task(self) -> None:
        tasks = await self.job()
        for index in (-1, 3, True, "0", None):
            with raises(TaskIndexError):
                tasks.reporter(index)  # type: ignore[arg-type]
        reporter = tasks.reporter(1)
        with raises(TaskMismatchError):
            await reporter.report(5, task=2)
        assert (await reporter.report(5, task=1)).task == 1
        assert told(await tasks.list()) == [(1, "main", 5, 1)]

    @case
    async def test_what_can_not_be_stored_is_refused_and_not_written(self) -> None:
        tasks = await self.job()
        reporter = tasks.reporter(0)
        for status in (2**31, -(2**31) - 1, True, 1.0, "1", None):
            with raises(InvalidInputError):
                await reporter.report(status)
        for tag in ("", "a/b", "/", 3, "a\n"):
            with raises(InvalidIdError):
                await reporter.report(1, tag=tag)
        for payload in (float("nan"), {1: 2}, object()):
            with raises(EncodingError):
                await reporter.report(1, payload=payload)
        with raises(InvalidInputError):
            await reporter.report(1, message=b"bytes")
        with raises(EncodingError):
            await reporter.report(1, message="\ud800")
        with raises(InvalidIdError):
            await reporter.report(1, event_id="")
        with raises(DocumentTooLargeError):
            await reporter.report(1, payload="x" * 70_000)
        for attempt in (0, True, "1", 2**63):
            with raises(InvalidInputError):
                tasks.reporter(0, attempt=attempt)
        assert await tasks.list() == []

    @case
    async def test_both_ends_of_the_scale_and_odd_tags(self) -> None:
        tasks = await self.job()
        for number, tag in enumerate(("a:b", "a:b:c", "é", "..", "__x__", "a b", "1", "a:1", ":")):
            await tasks.report(0, (-(2**31), 2**31 - 1)[number % 2], tag)
            found = await tasks.get(task=0, tag=tag)
            assert (found.tag, found.status) == (tag, (-(2**31), 2**31 - 1)[number % 2])
            assert told(await tasks.list(tag=tag)) == [(0, tag, found.status, 1)]

    @case
    async def test_a_payload_is_a_copy(self) -> None:
        tasks = await self.job()
        payload: dict[str, Any] = {"files": ["a"]}
        first = await tasks.report(0, 1, payload=payload)
        payload["files"].append("b")
        first.payload["files"].append("c")
        found = await tasks.get(task=0, tag="main")
        assert found.payload == {"files": ["a"]}
        found.payload.clear()
        assert (await tasks.get(task=0, tag="main")).payload == {"files": ["a"]}

    @case
    async def test_an_event_id_is_one_report(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        first = await tasks.report(0, 4, event_id="e1", payload=[1])
        await tasks.report(0, 9)
        for others in (tasks, await self.job(store)):
            again = await others.report(0, 4, event_id="e1", payload=[1])
            assert (again.version, again.status, again.event_id) == (1, 4, "e1")
            assert (again.payload, again.timestamp) == ([1], first.timestamp)
            with raises(IdempotencyMismatchError):
                await others.report(0, 5, event_id="e1", payload=[1])
        assert told(await tasks.list()) == [(0, "main", 9, 2)]
        assert (await tasks.report(1, 4, event_id="e1", payload=[1])).version == 1
        assert (await tasks.report(0, 4, "other", event_id="e1", payload=[1])).version == 1

    @case
    async def test_reports_at_the_same_time_are_all_written(self) -> None:
        store = self.open()
        jobs = [await self.job(store) for _ in range(4)]
        found = await self.together([partial(tasks.report, 0, n) for n, tasks in enumerate(jobs, 10)])
        assert sorted(status.version for status in found) == [1, 2, 3, 4]
        last = max(found, key=lambda status: status.version)
        assert told([await jobs[0].get(task=0, tag="main")]) == told([last])

    @case
    async def test_a_lost_answer_is_found_out(self) -> None:
        store = FaultyStore(self.open(), runtime=self.world.steered())
        tasks = await self.job(store)
        for number, fault in enumerate((Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.LOST_ANSWER), 1):
            store.then(fault)
            assert (await tasks.report(0, number)).version == number
        store.then(Fault.LOST_ANSWER)
        await tasks.close()
        with raises(JobClosedError):
            await tasks.report(0, 9)

    @case
    async def test_an_attempt_that_was_overtaken_changes_nothing(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        first, second = tasks.reporter(0), tasks.reporter(0, attempt=2)
        await first.failed("first try")
        assert (await second.started()).attempt == 2
        listener = await tasks.listen()
        late = await first.finished()
        assert (late.status, late.attempt, late.version) == (1, 2, 3)
        assert told([await tasks.get()]) == [(1, "main", 0, 0)]
        assert told(await tasks.list()) == [(0, "main", 1, 3)]
        history = await self.persister(store, governor=f"jobs/{JOB}").history("main:0")
        assert [step.action for step in history] == ["reported", "reported", "late"]
        assert history[-1].data["status"] == FINISHED
        assert told([u.status for u in await listener.take(2)]) == [(0, "main", 1, 2), (0, "main", 1, 3)]

    @case
    async def test_a_copy_of_the_streams_takes_reports_as_well(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        await tasks.report(0, 5)
        fence = Key(FENCE, f"jobs/{JOB}", "job", 1)
        await remove(store, fence)  # copies hold streams, and nothing that proves a right to write
        assert (await tasks.report(0, 6)).version == 2
        assert await exists(store, fence)
        await tasks.close()
        with raises(JobClosedError):
            await tasks.report(0, 7)
        assert not await exists(store, fence)

    # The lowest of many

    @case
    async def test_a_status_that_is_missing_is_an_error_or_a_default(self) -> None:
        tasks = await self.job()
        with raises(TaskStatusNotFoundError) as caught:
            await tasks.get(task=1, tag="build")
        assert (caught.error.job, caught.error.task, caught.error.tag) == (JOB, 1, "build")
        found = await tasks.get_or_default(task=1, tag="build")
        assert (found.task, found.tag, found.status, found.version) == (1, "build", 0, 0)
        for options in ({"task": 3}, {"task": 3, "tag": "x"}, {"task": -1, "tag": "x"}):
            with raises(TaskIndexError):
                await tasks.get(**options)
        with raises(InvalidIdError):
            await tasks.get(tag="a/b")

    @case
    async def test_under_a_tag_silent_tasks_are_at_zero(self) -> None:
        tasks = await self.job()
        await tasks.report(0, 5, "build")
        await tasks.report(2, 7, "build")
        await tasks.report(1, 3, "test")
        assert told([await tasks.get(tag="build")]) == [(1, "build", 0, 0)]
        await tasks.report(1, 6, "build")
        assert told([await tasks.get(tag="build")]) == [(0, "build", 5, 1)]
        await tasks.report(2, 5, "build")
        assert told([await tasks.get(tag="build")]) == [(0, "build", 5, 1)], "of equal ones the lowest task"
        await tasks.report(2, -1, "build")
        assert told([await tasks.get(tag="build")]) == [(2, "build", -1, 3)]
        assert told([await tasks.get(tag="nothing")]) == [(0, "nothing", 0, 0)]

    @case
    async def test_of_a_task_the_lowest_of_its_tags(self) -> None:
        tasks = await self.job()
        assert (await tasks.get(task=1)).status == 0
        await tasks.report(1, 8, "b")
        await tasks.report(1, 8, "a")
        await tasks.report(0, 2, "a")
        assert told([await tasks.get(task=1)]) == [(1, "a", 8, 1)]
        await tasks.report(1, 4, "c")
        assert told([await tasks.get(task=1)]) == [(1, "c", 4, 1)]

    @case
    async def test_of_a_job_a_wholly_silent_task_counts(self) -> None:
        tasks = await self.job()
        await tasks.report(0, 5)
        await tasks.report(1, 7)
        found = await tasks.get()
        assert (found.task, found.status, found.version) == (2, 0, 0)
        await tasks.report(2, 6, "other")
        assert told([await tasks.get()]) == [(0, "main", 5, 1)]
        await tasks.report(2, 5, "more")
        assert told([await tasks.get()]) == [(0, "main", 5, 1)]
        await tasks.report(1, -2, "more")
        assert told([await tasks.get()]) == [(1, "more", -2, 1)]

    @case
    async def test_what_stands_beyond_the_tasks_is_ignored(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        persister = self.persister(store, governor=f"jobs/{JOB}")
        for id in ("main:3", "main:99", "main:x", "main:-1", "main:00", "loose"):
            await persister.save_state(id, {"status": -5}, expected=ANY)
        listener = await tasks.listen()
        for task in range(3):
            await tasks.report(task, 4)
        assert (await tasks.get()).status == (await tasks.get(tag="main")).status == 4
        assert [status.task for status in await tasks.list()] == [0, 1, 2]
        await persister.save_state("main:7", {"status": -5}, expected=ANY)
        await tasks.report(0, 9)
        assert [update.status.task for update in await listener.take(4)] in ([0, 1, 2, 0], [0, 0, 1, 2])
        assert (await tasks.synchronize(target=4, timeout=20)).complete

    @case
    async def test_an_order_of_ones_own(self) -> None:
        tasks = await self.job()
        for task, status in enumerate((7, 30, -2)):
            await tasks.report(task, status)
        assert (await tasks.get(order=[30, 7, -2])).status == 30
        assert (await tasks.get(order=[5])).status == -2, "what the list does not name comes after it, by number"
        assert (await tasks.get(order=abs)).status == -2
        assert (await tasks.get(order=operator.neg)).status == 30

    @case
    async def test_lists_are_in_the_order_of_reports(self) -> None:
        tasks = await self.job()
        for task, tag in ((2, "a"), (0, "b"), (1, "a"), (0, "a")):
            await tasks.report(task, 1, tag)
        await tasks.report(2, 2, "a")
        assert [(s.task, s.tag) for s in await tasks.list()] == [(0, "b"), (1, "a"), (0, "a"), (2, "a")]
        assert [s.task for s in await tasks.list(tag="a")] == [1, 0, 2]
        assert [s.tag for s in await tasks.list(task=0)] == ["b", "a"]
        assert [s.tag for s in await tasks.list(task=0, tag="b")] == ["b"]
        times = [status.timestamp for status in await tasks.list()]
        assert times == sorted(times)
        with raises(TaskIndexError):
            await tasks.list(task=3)

    @case
    async def test_policies_judge_outcomes_of_all_tags(self) -> None:
        tasks = await self.job()
        verdict = await tasks.verdict()
        assert (verdict.phase, verdict.outcome, verdict.is_doomed) == (TaskPhase.PENDING, None, False)
        await tasks.reporter(0).report_outcome(TaskOutcome.SKIPPED)
        await tasks.reporter(1).report_outcome(TaskOutcome.WARNED)
        assert (await tasks.reporter(2).report_phase(TaskPhase.BLOCKED)).status == 0
        assert (await tasks.verdict()).phase is TaskPhase.BLOCKED
        await tasks.reporter(2).finished()
        assert (await tasks.verdict()).outcome is TaskOutcome.WARNED
        await tasks.reporter(2).report_phase(TaskPhase.STOPPING, tag="cleanup")
        verdict = await tasks.verdict()
        assert (verdict.phase, verdict.outcome) == (TaskPhase.STOPPING, None)
        assert (await tasks.reporter(2).report_outcome(TaskOutcome.CANCELLED, tag="cleanup")).status == -1
        assert (await tasks.verdict()).outcome is TaskOutcome.CANCELLED
        assert (await tasks.verdict(none_failed())).outcome is TaskOutcome.WARNED
        assert (await tasks.verdict(quorum(2))).is_doomed
        assert (await tasks.verdict(tag="main")).outcome is TaskOutcome.WARNED
        for wrong in (TaskPhase.DONE, "running"):
            with raises(InvalidInputError):
                await tasks.reporter(0).report_phase(wrong)

    # Subscriptions

    @case
    async def test_replay_then_live(self) -> None:
        tasks = await self.job()
        for task in (2, 0, 1):
            await tasks.report(task, 5 + task)
        listener = await tasks.listen()
        replay = await listener.take(3)
        assert all(update.replay for update in replay)
        assert told([update.status for update in replay]) == [(2, "main", 7, 1), (0, "main", 5, 1), (1, "main", 6, 1)]
        for status in (8, 9):
            await tasks.report(1, status, payload=[status])
        found = await listener.take(2)
        assert live(found) == [(1, "main", 8, 2), (1, "main", 9, 3)]
        assert [update.status.payload for update in found] == [[8], [9]]

    @case
    async def test_silence_then_live(self) -> None:
        tasks = await self.job()
        listener = await tasks.listen(task=1, tag="main")
        assert await listener.next(timeout=0.1) is None
        await tasks.report(1, 5)
        assert live(await listener.take(1)) == [(1, "main", 5, 1)]
        for timeout in (-1, "1", True):
            with raises(InvalidInputError):
                await listener.next(timeout=timeout)

    @case
    async def test_filters(self) -> None:
        tasks = await self.job()
        await tasks.report(0, 1, "a")
        await tasks.report(1, 2, "b")
        chosen: list[dict[str, Any]] = [{"tag": "a"}, {"task": 1}, {"task": 1, "tag": "b"}, {}]
        listeners = [await tasks.listen(**options) for options in chosen]
        await tasks.report(1, 3, "a")
        await tasks.report(1, 4, "b")
        await tasks.report(0, 5, "b")
        await tasks.close()
        found = [sorted(u.status.status for u in await listener.rest()) for listener in listeners]
        assert found == [[1, 3], [2, 3, 4], [2, 4], [1, 2, 3, 4, 5]]
        with raises(TaskIndexError):
            await tasks.listen(task=3)
        with raises(InvalidIdError):
            await tasks.listen(tag="a/b")

    @case
    async def test_nothing_is_lost_between_the_snapshot_and_what_follows(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        await tasks.report(0, 5)
        hooked = ScanHook(store, partial(tasks.report, 1, 6), partial(tasks.report, 2, 7))
        listener = await (await self.job(hooked, tasks=None)).listen()
        found = await listener.take(3)
        assert [(u.status.task, u.status.version) for u in found] == [(0, 1), (1, 1), (2, 1)]
        await tasks.report(0, 8)
        assert live(await listener.take(1)) == [(0, "main", 8, 2)], "and none of them comes again"

    @case
    async def test_what_others_record_is_told_as_well(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        await tasks.report(0, 5, message="long enough that the next state is stored as a difference " * 3)
        listener = await tasks.listen()
        persister = self.persister(store, governor=f"jobs/{JOB}")
        state = await persister.load("main:0")
        await persister.update_state("main:0", {**state.data, "status": 6}, expected=state)
        [step] = (await persister.history("main:0"))[-1:]
        assert step.action == "updated"
        found = await listener.take(2)
        assert told([update.status for update in found]) == [(0, "main", 5, 1), (0, "main", 6, 2)]
        assert found[1].status.message == found[0].status.message
        assert (await tasks.report(0, 7)).version == 3

    @case
    async def test_a_slow_reader_stops_nobody_and_misses_nothing(self) -> None:
        tasks = await self.job()
        listener = await tasks.listen()
        for number in range(1, 61):
            await tasks.report(number % 3, number)
        found = await listener.take(60)
        assert sorted(update.status.status for update in found) == list(range(1, 61))
        for task in range(3):
            assert [u.status.version for u in found if u.status.task == task] == list(range(1, 21))

    @case
    async def test_a_store_that_is_away_for_a_while_ends_nothing(self) -> None:
        store = AwayStore(self.open(), runtime=self.world.steered())
        tasks = await self.job(store)
        listener = await tasks.listen()
        await tasks.report(0, 5)
        store.unanswered = 5
        await tasks.report(1, 6)
        assert sorted(live(await listener.take(2))) == [(0, "main", 5, 1), (1, "main", 6, 1)]
        assert store.unanswered < 5

    @case
    async def test_several_subscribers_of_several_processes(self) -> None:
        tasks = await self.job()
        others = [await self.job(self.open(apart=True), tasks=None) for _ in range(2)]
        listeners = [await job.listen() for job in (*others, tasks)]
        for task in range(3):
            await tasks.report(task, 1)
            await others[0].report(task, 2)
        for listener in listeners:
            found = sorted(live(await listener.take(6)))
            assert found == [(task, "main", n, n) for task in range(3) for n in (1, 2)]

    @case
    async def test_a_subscription_that_is_stopped_ends(self) -> None:
        tasks = await self.job()
        await tasks.report(0, 1)
        listener = await tasks.listen()
        waiting = await tasks.listen(tag="nothing")

        async def stop() -> float:
            await self.runtime.sleep(0.2)
            waiting.inner.stop()
            return self.runtime.monotonic()

        async def wait() -> float:
            assert await waiting.next(timeout=30) is None
            return self.runtime.monotonic()

        stopped, ended = await self.together([stop, wait])
        assert ended - stopped < 20, "it waited to its end"
        listener.inner.stop()
        assert await listener.next(timeout=5) is None
        for _ in range(2):
            await listener.close()
            await waiting.close()
        listener.inner.stop()

    # The end of statuses, and of jobs

    @case
    async def test_deleted_statuses_are_gone_and_versions_go_on(self) -> None:
        tasks = await self.job()
        await tasks.report(0, 5)
        await tasks.report(0, 6)
        await tasks.report(1, 7, "other")
        listener = await tasks.listen()
        assert len(await listener.take(2)) == 2
        await tasks.delete()
        await tasks.delete()
        with raises(TaskStatusNotFoundError):
            await tasks.get(task=0, tag="main")
        assert await tasks.list() == []
        assert (await tasks.get()).status == 0
        again = await tasks.report(0, 8)
        assert again.version > 3
        found = await listener.take(3)
        assert sorted(live(found)[:2]) == [(0, "main", 0, 3), (1, "other", 0, 2)]
        assert [update.deleted for update in found] == [True, True, False]
        assert live(found)[2] == (0, "main", 8, again.version), "a subscriber sees what follows a deletion"

    @case
    async def test_many_statuses_are_deleted(self) -> None:
        tasks = await self.job(tasks=self.many)
        await self.together([partial(self._reports, tasks, part) for part in range(4)])
        assert len(await tasks.list()) == self.many
        await tasks.delete()
        assert await tasks.list() == []

    async def _reports(self, tasks: Tasks, part: int) -> None:
        for task in range(part, self.many, 4):
            await tasks.report(task, 1)

    @case
    async def test_a_closed_job_takes_no_reports(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        await tasks.report(0, 5, event_id="e")
        other = await self.job(store, tasks=None)
        listener = await tasks.listen()
        await other.close()
        await tasks.close()
        for job in (tasks, other, await self.job(store, tasks=7)):
            with raises(JobClosedError) as caught:
                await job.report(0, 6)
            assert not caught.error.is_deleted
            assert told(await job.list()) == [(0, "main", 5, 1)]
            assert (await job.report(0, 5, event_id="e")).version == 1, "what was written before is still known"
        assert [update.replay for update in await listener.rest()] == [True]
        assert [update.replay for update in await (await tasks.listen()).rest()] == [True]

    @case
    async def test_what_was_reported_before_the_end_is_told(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        listeners = [await tasks.listen() for _ in range(2)]

        async def report(task: int) -> list[Told]:
            found: list[Told] = []
            while True:
                try:
                    found += told([await tasks.report(task, len(found) + 1)])
                except JobClosedError:
                    return found
                await self.runtime.sleep(0.002)

        async def close() -> list[Told]:
            await self.runtime.sleep(0.1)
            await tasks.close()
            return []

        acknowledged = await self.together([partial(report, 0), partial(report, 1), close])
        for listener in listeners:
            assert sorted(live(await listener.rest())) == sorted(
                report for reports in acknowledged for report in reports
            )

    @case
    async def test_a_deleted_job_is_over(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        await tasks.report(0, 5)
        await tasks.report(0, 6)
        listener = await tasks.listen()
        assert len(await listener.take(1)) == 1
        await tasks.mark_deleted()
        await tasks.mark_deleted()
        [update] = await listener.rest()
        assert update.deleted
        assert live([update]) == [(0, "main", 0, 3)]
        assert await tasks.list() == []
        with raises(TaskStatusNotFoundError):
            await tasks.get(task=0, tag="main")
        assert await (await tasks.listen()).rest() == []
        for call in (tasks.close, tasks.delete):
            with raises(JobNotFoundError):
                await call()
        with raises(JobNotFoundError):
            await self.job(store, tasks=None)
        with raises(JobClosedError) as caught:
            await tasks.report(0, 7)
        assert caught.error.is_deleted

    @case
    async def test_a_deleted_job_begins_anew(self) -> None:
        store = self.open()
        tasks = await self.job(store)
        await tasks.report(0, 5, event_id="e")
        await tasks.mark_deleted()
        anew = await self.job(store, tasks=2)
        assert anew.inner.tasks == 2
        assert await anew.list() == []
        with raises(JobClosedError):
            await tasks.report(0, 6)
        found = await anew.report(0, 5, event_id="e")
        assert found.version > 2, "versions go on, and event ids begin anew"
        await tasks.mark_deleted()
        assert told(await anew.list()) == [(0, "main", 5, found.version)], "an old hand can't delete the new one"
        assert await tasks.list() == []
        assert told(await (await self.job(store, tasks=None)).list()) == [(0, "main", 5, found.version)]

    @case
    async def test_a_deletion_that_was_cut_off(self) -> None:
        inner = self.open()
        store = FaultyStore(inner, runtime=self.world.steered())
        tasks = await self.job(store)
        await tasks.report(0, 5)
        await tasks.report(1, 6)
        store.then(Fault.NONE, Fault.UNAVAILABLE)
        with raises(StoreUnavailableError):
            await tasks.mark_deleted()
        other = await self.job(inner, tasks=3)
        assert await other.list() == []
        assert await tasks.list() == []
        found = await other.report(0, 7)
        assert found.version > 1
        await tasks.mark_deleted()
        assert told(await other.list()) == [(0, "main", 7, found.version)]

    # The barrier

    @case
    async def test_all_wait_for_all(self) -> None:
        store = self.open()
        jobs = [await self.job(store) for _ in range(3)]

        async def work(task: int) -> Any:
            await jobs[task].reporter(task).report(5, tag="ready")
            return await jobs[task].synchronize("ready", 5, timeout=30)

        for barrier in await self.together([partial(work, task) for task in range(3)]):
            assert barrier.complete
            assert [status.status for status in barrier.statuses] == [5, 5, 5]

    @case
    async def test_a_barrier_gives_up(self) -> None:
        tasks = await self.job()
        await tasks.report(0, FINISHED)
        await tasks.report(1, 4)
        for timeout in (0, 0.05):
            barrier = await tasks.synchronize(timeout=timeout)
            assert not barrier.complete
            assert told(barrier.statuses) == [(0, "main", FINISHED, 1), (1, "main", 4, 1), (2, "main", 0, 0)]
        await tasks.reporter(1).failed("no")
        barrier = await tasks.synchronize(timeout=30)
        assert [status.task for status in barrier.failed] == [1], "an error ends it at once"
        assert barrier.statuses[0].is_finished
        await tasks.reporter(1).finished()
        barrier = await tasks.synchronize(timeout=0.05, wait_for_errors=True)
        assert barrier.failed == ()
        await tasks.close()
        assert not (await tasks.synchronize(timeout=30)).complete, "nobody can complete it any more"
        for wrong in ({"timeout": -1}, {"target": 2**40}, {"tag": "a/b"}):
            with raises(InvalidInputError):
                await tasks.synchronize(**wrong)

    @case
    async def test_a_barrier_waits_for_a_second_try(self) -> None:
        tasks = await self.job(tasks=1)
        await tasks.reporter(0).failed("once")

        async def retry() -> Any:
            await self.runtime.sleep(0.1)
            return await tasks.reporter(0, attempt=2).finished()

        async def wait() -> Any:
            return await tasks.synchronize(timeout=30, wait_for_errors=True)

        _, barrier = await self.together([retry, wait])
        assert barrier.complete
        assert barrier.statuses[0].attempt == 2
