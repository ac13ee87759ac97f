"""What stores of jobs promise: runs, workstreams and jobs whose statuses are what their events say."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from unittest.mock import patch

from eventstate.core.documents import DOCUMENT, ENTRY, HEAD, Key
from eventstate.core.retention import RetentionPolicy
from eventstate.errors import (
    AlreadyExistsError,
    EncodingError,
    EventStateError,
    IllegalTransitionError,
    InvalidIdError,
    InvalidInputError,
    JobFinishedError,
    JobNotFoundError,
    NotFoundError,
    RunNotFoundError,
    StoreUnavailableError,
    WorkstreamNotFoundError,
)
from eventstate.jobs.queue.async_job_queue import AsyncJobQueue
from eventstate.jobs.queue.job_queue import JobQueue
from eventstate.jobs.runs import index
from eventstate.jobs.runs.async_job_state_store import AsyncJobStateStore
from eventstate.jobs.runs.job_state_store import JobStateStore
from eventstate.jobs.runs.progress import JOB_MACHINES, RUN_STATUSES, RUN_TRANSITIONS
from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.specs import JobSpec
from eventstate.machines.async_retention_manager import AsyncRetentionManager
from eventstate.machines.retention_manager import RetentionManager
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import Face, alter
from eventstate.testing.conformance.suite import Suite, case, raises
from eventstate.testing.faults import UNANSWERED, Fault, FaultyStore
from eventstate.testing.job_audit import audit_jobs

JOBS_GOVERNOR: Final = "jobs"
DONE: Final = JobResult(0, duration_s=45.2)
BROKEN: Final = JobResult(2, stderr="first\nno such file\n")
SLOW: Final = JobResult(-1)


class RunSuite(Suite):
    """A suite whose cases work through stores of jobs."""

    def jobs(self, store: Store | None = None) -> Face:
        """A store of jobs of this world."""
        store = store if store is not None else self.open()
        face = JobStateStore if self.world.name == "sync" else AsyncJobStateStore
        return Face(face(store=store))

    async def sound(self, store: Store) -> None:
        """Fail unless every status is what the events say, and the indexes name what there is."""
        problems = await audit_jobs(store)
        assert not problems, problems

    async def stored(self, store: Store) -> dict[Key, bytes]:
        """Everything that is stored of jobs."""
        found: dict[Key, bytes] = {}
        for kind in (HEAD, ENTRY, DOCUMENT):
            page = await store.scan(kind, JOBS_GOVERNOR)
            assert page.next is None
            found.update((document.key, document.body) for document in page.documents)
        return found

    async def events(self, jobs: Face, *, run: str | None = None, job: str | None = None) -> list[str]:
        """The types of the events of a run or a job, oldest first."""
        return [event["event_type"] for event in await jobs.list_events(run, job_id=job)]


class RunCases(RunSuite):
    """Runs, workstreams and jobs from their beginning to their end."""

    @case
    async def test_runs_come_and_move_and_are_listed(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        given = {"branch": "main"}
        run = await jobs.create_run("ws-1", metadata=given, by="kim")
        assert given == {"branch": "main"}, "the caller's own metadata was changed"
        created = await jobs.get_run(run)
        assert created["metadata"] == {"branch": "main", "ws_id": "ws-1", "by": "kim"}
        assert created["status"] == "pending"
        assert created["created_at"].endswith("Z")
        assert created["created_at"] == created["updated_at"]
        await jobs.update_run_status(run, "running")
        await jobs.update_run_status(run, "running")
        assert (await jobs.get_run(run))["status"] == "running"
        assert await self.events(jobs, run=run) == ["run.created", "run.started"], "the same status again is no step"
        others = [await jobs.create_run() for _ in range(4)]
        assert len({run, *others}) == 5, "two runs of one second have one id"
        listed = [one["run_id"] for one in await jobs.list_recent_runs()]
        assert set(listed) == {run, *others}
        assert listed[-1] == run
        assert [one["run_id"] for one in await jobs.list_recent_runs(2)] == listed[:2]
        assert await jobs.create_run(run_id="mine") == "mine"
        with raises(AlreadyExistsError):
            await jobs.create_run(run_id="mine")
        await self.sound(store)

    @case
    async def test_a_run_moves_as_its_table_says(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        ways = {"pending": (), "running": ("running",), "completed": ("completed",)}
        ways |= {"failed": ("failed",), "cancelled": ("cancelled",)}
        legal = {(source, target) for source, _, target in RUN_TRANSITIONS if source != target}
        for number, source in enumerate(RUN_STATUSES):
            for target in RUN_STATUSES:
                for what in ("run", "workstream"):
                    id = f"{what}-{number}-{target}"
                    create, update = getattr(jobs, f"create_{what}"), getattr(jobs, f"update_{what}_status")
                    await (create(run_id=id) if what == "run" else create(None, id))
                    for status in ways[source]:
                        await update(id, status)
                    if source == target or (source, target) in legal:
                        await update(id, target)
                    else:
                        with raises(IllegalTransitionError):
                            await update(id, target)
        before = await self.stored(store)
        with raises(RunNotFoundError):
            await jobs.update_run_status("none", "running")
        with raises(InvalidInputError):
            await jobs.update_run_status("run-0-pending", "quarantined")
        with raises(RunNotFoundError):
            await jobs.get_run("none")
        assert await self.stored(store) == before
        await self.sound(store)

    @case
    async def test_workstreams_belong_to_runs(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run, other = await jobs.create_run(), await jobs.create_run()
        names = [await jobs.create_workstream(run, f"ws-{n}", depends_on=["ws-0"], title=n) for n in range(3)]
        assert [one["ws_id"] for one in await jobs.list_workstreams(run)] == names[::-1]
        assert await jobs.list_workstreams(other) == await jobs.list_workstreams("none") == []
        found = await jobs.get_workstream("ws-1")
        assert (found["run_id"], found["depends_on"], found["metadata"]) == (run, ["ws-0"], {"title": 1})
        assert await jobs.get_workstream("ws-9") is None
        assert (await jobs.create_workstream(None)).startswith("ws-")
        before = await self.stored(store)
        with raises(RunNotFoundError):
            await jobs.create_workstream("none", "ws-9")
        with raises(AlreadyExistsError):
            await jobs.create_workstream(other, "ws-1")
        with raises(WorkstreamNotFoundError):
            await jobs.update_workstream_status("ws-9", "running")
        assert await self.stored(store) == before
        await self.sound(store)

    @case
    async def test_a_job_is_seen_while_it_runs_and_each_step_is_one_event(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        await jobs.create_workstream(run, "ws")
        assert await jobs.get_job_status("a") == "not_found"
        assert await jobs.mark_job_running("a", workstream_id="ws", tool="aider") == 1
        assert await self.jobs(store).get_job_status("a") == "running"
        (shown,) = await jobs.list_jobs(run, status="running")
        assert (shown["job_id"], shown["run_id"], shown["ws_id"], shown["tool"]) == ("a", run, "ws", "aider")
        assert await jobs.update_job_result(JobSpec("a", "ws", "aider", run_id=run), DONE) is True
        found = await jobs.get_job("a")
        assert (found["job_id"], found["status"], found["exit_code"]) == ("a", "completed", 0)
        assert found["started_at"] < found["completed_at"]
        assert found["result"]["duration_s"] == 45.2
        started, ended = await jobs.list_events(job_id="a")
        assert [one["event_type"] for one in (started, ended)] == ["job.started", "job.completed"]
        payload = {"job_id": "a", "ws_id": "ws", "run_id": run, "tool": "aider", "status": "completed"}
        assert payload.items() <= ended["payload"].items()
        assert (ended["payload"]["exit_code"], ended["payload"]["duration_s"]) == (0, 45.2)
        trail = await jobs.list_events(run)
        assert [one["event_type"] for one in trail] == [
            "run.created",
            "workstream.created",
            "job.started",
            "job.completed",
        ]
        assert all(one["run_id"] == run for one in trail), "events of jobs name their run"
        await self.sound(store)

    @case
    async def test_what_a_result_comes_to(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        results = {
            "a": (JobResult(0), "completed", None),
            "b": (JobResult(5, success=True), "completed", None),
            "c": (SLOW, "timeout", "timed out"),
            "d": (BROKEN, "failed", "no such file"),
            "e": (JobResult(7), "failed", "exit code 7"),
            "f": ({"exit_code": -2, "stderr": "boom"}, "failed", "boom"),
        }
        for id, (result, status, message) in results.items():
            await jobs.mark_job_running(id, run_id=run)
            await jobs.update_job_result(id, result)
            found = await jobs.get_job(id)
            assert (found["status"], found["error_message"]) == (status, message), id
            assert (await self.events(jobs, job=id))[-1] == f"job.{status}"
            assert await jobs.get_job_status(id) == status
        long = JobResult(1, stdout="o" * 900, stderr="e" * 900, metadata={"files": ["a.py"]}, error_report_path="r.txt")
        await jobs.update_job_result({"job_id": "g", "run_id": run, "tool": "git"}, long)
        found = await jobs.get_job("g")
        assert found["started_at"] == found["completed_at"], "a job that was only reported"
        result = found["result"]
        assert (result["stdout_preview"], result["stderr_preview"]) == ("o" * 500, "e" * 500)
        assert (result["metadata"], result["error_report_path"]) == ({"files": ["a.py"]}, "r.txt")
        surrogates = JobResult(0, stdout="\udc80 odd")
        assert await jobs.update_job_result({"job_id": "h", "run_id": run}, surrogates)
        await self.sound(store)

    @case
    async def test_late_results_are_kept_and_change_nothing(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        for id, first in (("a", DONE), ("b", SLOW), ("c", BROKEN)):
            await jobs.mark_job_running(id, run_id=run)
            assert await jobs.update_job_result(id, first)
            before = await jobs.get_job(id)
            assert await jobs.update_job_result(id, DONE) is False
            assert await jobs.get_job(id) == {**before, "late_results": 1}
            assert (await self.events(jobs, job=id))[-1] == "job.late_result"
            with raises(JobFinishedError):
                await jobs.mark_job_running(id)
        first = await jobs.mark_job_running("d", run_id=run)
        second = await jobs.mark_job_running("d")
        assert (first, second) == (1, 2)
        assert await jobs.update_job_result("d", BROKEN, attempt=1) is False
        assert await jobs.get_job_status("d") == "running"
        assert await jobs.update_job_result("d", DONE, attempt=2) is True
        found = await jobs.get_job("d")
        assert (found["status"], found["attempt"], found["retry_count"]) == ("completed", 2, 1)
        assert await self.events(jobs, job="d") == ["job.started", "job.started", "job.late_result", "job.completed"]
        for attempt in (3, 0, True, "1"):
            with raises(InvalidInputError):
                await jobs.update_job_result("d", DONE, attempt=attempt)
        await self.sound(store)

    @case
    async def test_unknown_parents_and_unknown_jobs_are_named(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run, other = await jobs.create_run(), await jobs.create_run()
        await jobs.create_workstream(run, "ws")
        await jobs.mark_job_running("a", run_id=run)
        await jobs.mark_job_running("c", workstream_id=await jobs.create_workstream(None))
        before = await self.stored(store)
        calls: list[tuple[type[EventStateError], Callable[[], Any]]] = [
            (RunNotFoundError, lambda: jobs.update_job_result({"job_id": "c", "run_id": "none"}, DONE)),
            (RunNotFoundError, lambda: jobs.mark_job_running("c", run_id="none")),
            (AlreadyExistsError, lambda: jobs.mark_job_running("c", workstream_id="ws")),
            (JobNotFoundError, lambda: jobs.mark_job_running("b")),
            (JobNotFoundError, lambda: jobs.get_job("b")),
            (JobNotFoundError, lambda: jobs.list_events(job_id="b")),
            (RunNotFoundError, lambda: jobs.list_events("none")),
            (RunNotFoundError, lambda: jobs.mark_job_running("b", run_id="none")),
            (WorkstreamNotFoundError, lambda: jobs.mark_job_running("b", run_id=run, workstream_id="none")),
            (InvalidInputError, lambda: jobs.mark_job_running("b", run_id=other, workstream_id="ws")),
            (RunNotFoundError, lambda: jobs.update_job_result({"job_id": "b", "run_id": "none"}, DONE)),
            (WorkstreamNotFoundError, lambda: jobs.update_job_result(JobSpec("b", "none"), DONE)),
            (AlreadyExistsError, lambda: jobs.mark_job_running("a", run_id=other)),
            (AlreadyExistsError, lambda: jobs.mark_job_running("a", run_id="none")),
            (AlreadyExistsError, lambda: jobs.update_job_result({"job_id": "a", "run_id": other}, DONE)),
            (RunNotFoundError, lambda: jobs.record_event("x", {"run_id": "none"})),
            (WorkstreamNotFoundError, lambda: jobs.record_event("x", {"ws_id": "none"})),
            (RunNotFoundError, lambda: jobs.delete_run("none")),
        ]
        for kind, call in calls:
            with raises(kind):
                await call()
        assert await self.stored(store) == before, "a call that failed has written something"
        assert (await jobs.get_job("a"))["run_id"] == run
        await jobs.update_job_result({"job_id": "c", "run_id": run}, DONE)
        assert {one["job_id"] for one in await jobs.list_jobs(run)} == {"a", "c"}, "a run may be named later"
        await self.sound(store)

    @case
    async def test_what_can_not_be_stored_is_refused_whole(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        await jobs.mark_job_running("a", run_id=run)
        before = await self.stored(store)
        calls: list[tuple[type[EventStateError], Callable[[], Any]]] = [
            (EncodingError, lambda: jobs.create_run(metadata={"x": math.nan})),
            (EncodingError, lambda: jobs.update_job_result("a", JobResult(0, metadata={"x": object()}))),
            (EncodingError, lambda: jobs.update_job_result("a", JobResult(1, duration_s=math.inf))),
            (EncodingError, lambda: jobs.record_event("x", {"run_id": run, "x": {1: 2}})),
            (InvalidIdError, lambda: jobs.create_run(run_id="a/b")),
            (InvalidIdError, lambda: jobs.create_run(run_id="")),
            (InvalidIdError, lambda: jobs.mark_job_running("x" * 401, run_id=run)),
            (InvalidIdError, lambda: jobs.mark_job_running("b", run_id=7)),
            (InvalidInputError, lambda: jobs.update_job_result({"run_id": run}, DONE)),
            (InvalidInputError, lambda: jobs.update_job_result("a", {"exit_code": 0, "colour": "red"})),
            (InvalidInputError, lambda: jobs.update_job_result("a", {"success": True})),
            (InvalidInputError, lambda: jobs.update_job_result("a", {"exit_code": "0"})),
            (InvalidInputError, lambda: jobs.update_job_result("a", {"exit_code": 1, "success": "false"})),
            (InvalidIdError, lambda: jobs.update_job_result({"job_id": "a", "tool": 7}, DONE)),
            (InvalidInputError, lambda: jobs.update_job_result("a", None)),
            (InvalidInputError, lambda: jobs.create_run(metadata=[1])),
            (InvalidInputError, lambda: jobs.create_workstream(run, "ws", depends_on="ws-1")),
            (InvalidInputError, lambda: jobs.create_workstream(run, "ws", depends_on=None)),
            (InvalidInputError, lambda: jobs.list_recent_runs(0)),
            (InvalidInputError, jobs.list_jobs),
            (InvalidInputError, lambda: jobs.list_jobs(run, status="lost in space")),
            (InvalidInputError, lambda: jobs.list_events(run, job_id="a")),
        ]
        for kind, call in calls:
            with raises(kind):
                await call()
        assert await self.stored(store) == before
        await self.sound(store)


class RunListCases(RunSuite):
    """Lists, events, deletions, and what happens when others write at the same time or the store fails."""

    @case
    async def test_jobs_are_found_by_their_parents(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run, other = await jobs.create_run(), await jobs.create_run()
        await jobs.create_workstream(run, "ws")
        order = [f"j{n}" for n in range(7)]
        for id in order:
            await jobs.mark_job_running(id, run_id=run)
        await jobs.mark_job_running("j2", workstream_id="ws")
        await jobs.mark_job_running("far", run_id=other)
        with patch.object(index, "PAGE", 3):
            listed = [one["job_id"] for one in await jobs.list_jobs(run)]
            assert listed == ["j2", "j6", "j5", "j4", "j3", "j1", "j0"], "the one that started last comes first"
            assert [one["job_id"] for one in await jobs.list_jobs(workstream_id="ws")] == ["j2"]
            assert [one["job_id"] for one in await jobs.list_jobs(other)] == ["far"]
            assert await jobs.list_jobs("none") == []
            assert [one["job_id"] for one in await jobs.all_jobs()] == sorted([*order, "far"])
            for _ in range(7):
                await jobs.create_run()
            assert len(await jobs.list_recent_runs(100)) == 9
            assert len(await jobs.list_recent_runs(8)) == 8
        await self.sound(store)

    @case
    async def test_one_damaged_job_spoils_no_other(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        for id in ("a", "b", "c"):
            await jobs.mark_job_running(id, run_id=run)
            await jobs.update_job_result(id, DONE)
        await alter(store, Key(HEAD, JOBS_GOVERNOR, "job-b"), b'"exit_code":0', b'"exit_code":!')
        fresh = self.jobs(store)
        assert await fresh.get_job_status("a") == await fresh.get_job_status("c") == "completed"
        assert (await fresh.get_job("b"))["exit_code"] == 0, "what is damaged comes from its events"
        assert {one["job_id"] for one in await fresh.list_jobs(run)} == {"a", "b", "c"}

    @case
    async def test_events_of_ones_own_are_part_of_the_trail(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        await jobs.create_workstream(run, "ws")
        await jobs.mark_job_running("a", run_id=run)
        payload = {"run_id": run, "job_id": "a", "step": "lint"}
        await jobs.record_event("step.done", payload)
        await jobs.record_event("ws.idle", {"ws_id": None, "workstream_id": "ws"})
        await jobs.record_event("disk.full", {"host": "a"})
        trail = await jobs.list_events(run)
        named = {one["event_type"]: one for one in trail}
        assert [one["event_type"] for one in trail][-2:] == ["step.done", "ws.idle"]
        step = named["step.done"]
        assert (step["payload"], step["job_id"], step["run_id"]) == (payload, "a", run)
        assert (named["ws.idle"]["ws_id"], named["ws.idle"]["run_id"]) == ("ws", run)
        (general,) = await jobs.list_events()
        assert (general["event_type"], general["payload"], general["run_id"]) == ("disk.full", {"host": "a"}, None)
        assert (await jobs.get_run(run))["status"] == "pending"
        await self.sound(store)

    @case
    async def test_what_is_left_of_a_deleted_run(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run, other = await jobs.create_run(), await jobs.create_run()
        await jobs.mark_job_running("a", run_id=run)
        await jobs.delete_run(run)
        with raises(RunNotFoundError):
            await jobs.get_run(run)
        with raises(RunNotFoundError):
            await jobs.delete_run(run)
        assert [one["run_id"] for one in await jobs.list_recent_runs()] == [other]
        assert await self.events(jobs, run=run) == ["run.created", "job.started", "$deleted"]
        assert await jobs.update_job_result({"job_id": "a", "run_id": run}, DONE), "what it began can end"
        assert [one["job_id"] for one in await jobs.list_jobs(run)] == ["a"]
        with raises(RunNotFoundError):
            await jobs.mark_job_running("b", run_id=run)
        with raises(RunNotFoundError):
            await jobs.record_event("x", {"run_id": run})
        with raises(AlreadyExistsError):
            await jobs.create_run(run_id=run)
        await self.sound(store)

    @case
    async def test_jobs_of_the_queue_are_their_workers(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        queue = Face((JobQueue if self.world.name == "sync" else AsyncJobQueue)(store))
        run = await jobs.create_run()
        await queue.queue_job({"job_id": "a", "run_id": run, "tool": "git"})
        (listed,) = await jobs.list_jobs(run, status="queued")
        assert (listed["job_id"], listed["queue"], listed["started_at"]) == ("a", "default", None)
        before = await self.stored(store)
        with raises(InvalidInputError):
            await jobs.mark_job_running("a")
        with raises(InvalidInputError):
            await jobs.update_job_result("a", DONE)
        assert await self.stored(store) == before
        await queue.cancel("a")
        assert await jobs.update_job_result("a", DONE) is False, "once it has ended, whatever comes is late"
        events = await jobs.list_events(run)
        assert [one["event_type"] for one in events] == [
            "run.created",
            "job.queued",
            "job.cancelled",
            "job.late_result",
        ]
        assert all(one["run_id"] == run for one in events)
        await self.sound(store)

    @case
    async def test_old_events_can_go(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        await jobs.mark_job_running("a", run_id=run)
        await jobs.update_job_result("a", DONE)
        shown = await jobs.get_job("a")
        manager = RetentionManager if self.world.name == "sync" else AsyncRetentionManager
        face = Face(manager(store, governor=JOBS_GOVERNOR, machines=JOB_MACHINES))
        assert (await face.prune(RetentionPolicy(keep_last=1))).total.pruned_events == 1
        fresh = self.jobs(store)
        assert await fresh.get_job("a") == shown
        assert await fresh.list_jobs(run) == [shown]
        assert await self.events(fresh, run=run) == ["run.created", "job.completed"]

    @case
    async def test_subscribers_see_every_step(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        await jobs.mark_job_running("a", run_id=run, tool="git")
        await jobs.update_job_result("a", DONE)
        face = jobs.inner
        subscription = face.subscribe_to_events()
        try:
            deliveries = await Face(subscription).deliveries(until_caught_up=True)
        finally:
            await Face(subscription).close()
        assert sorted(one.action for one in deliveries) == ["job.completed", "job.started", "run.created"]
        assert [one.event.run_id for one in deliveries if one.state_id == "job-a"] == [run, run]
        ends = face.subscribe_to_events(actions=["job.completed"])
        assert [one.state_id for one in await Face(ends).deliveries(until_caught_up=True)] == ["job-a"]
        await Face(ends).close()

    @case
    async def test_of_results_that_race_one_counts(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        await jobs.create_workstream(run, "ws")
        for round in range(max(2, self.rounds // 4)):
            id = f"j{round}"
            await jobs.mark_job_running(id, run_id=run)
            results = [DONE, SLOW, BROKEN, DONE]
            counted = await self.together([partial(self.jobs(store).update_job_result, id, one) for one in results])
            assert sorted(counted) == [False, False, False, True]
            events = await self.events(jobs, job=id)
            assert events[0] == "job.started"
            assert events[2:] == ["job.late_result"] * 3
            assert await jobs.get_job_status(id) == results[counted.index(True)].outcome
        await self.sound(store)

    @case
    async def test_many_may_work_in_one_run(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()

        async def work(number: int) -> None:
            mine = jobs if number % 2 else self.jobs(store)  # of one process, and as if of another
            for step in range(3):
                id = f"{number}-{step}"
                await mine.mark_job_running(id, run_id=run)
                await mine.record_event("note", {"run_id": run, "job_id": id})
                await mine.update_job_result(id, DONE)

        await self.together([lambda number=number: work(number) for number in range(self.writers)])
        assert len(await jobs.list_jobs(run, status="completed")) == 3 * self.writers
        events = await self.events(jobs, run=run)
        assert events.count("note") == events.count("job.started") == 3 * self.writers
        await self.sound(store)

    @case
    async def test_of_starts_that_race_each_is_an_attempt(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        run = await jobs.create_run()
        calls = [lambda: self.jobs(store).mark_job_running("a", run_id=run) for _ in range(4)]
        assert sorted(await self.together(calls)) == [1, 2, 3, 4]
        assert await self.events(jobs, job="a") == ["job.started"] * 4
        await self.sound(store)

    @case
    async def test_lost_answers_double_nothing(self) -> None:
        for fault in UNANSWERED:
            store = self.open()
            name = fault.name.lower()
            faulty = FaultyStore(store, [fault], runtime=self.world.steered())
            jobs = self.jobs(faulty)
            run = await jobs.create_run(run_id=f"run-{name}")
            faulty.then(fault)
            await jobs.mark_job_running(f"job-{name}", run_id=run)
            faulty.then(fault)
            assert await jobs.update_job_result(f"job-{name}", DONE) is True
            faulty.then(fault)
            await jobs.record_event("note", {"run_id": run})
            assert await self.events(jobs, run=run) == ["run.created", "job.started", "job.completed", "note"]
            await self.sound(store)

    @case
    async def test_a_store_that_fails_is_told_and_leaves_whole_steps(self) -> None:
        store = self.open()
        faulty = FaultyStore(store, lambda _batch: Fault.UNAVAILABLE, runtime=self.world.steered())
        jobs, good = self.jobs(faulty), self.jobs(store)
        run = await good.create_run()
        await good.mark_job_running("a", run_id=run)
        before = await self.stored(store)
        calls: list[Callable[[], Any]] = [
            jobs.create_run,
            lambda: jobs.mark_job_running("b", run_id=run),
            lambda: jobs.update_job_result("a", DONE),
            lambda: jobs.record_event("x", {}),
            lambda: jobs.delete_run(run),
        ]
        for call in calls:
            with raises(StoreUnavailableError):
                await call()
        assert await self.stored(store) == before
        assert await good.get_job_status("a") == "running"
        with raises(NotFoundError):
            await good.get_job("b")
        await self.sound(store)
