"""What migrations of jobs promise: each document is changed once, whatever is broken off when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import product
from typing import Any, cast

from eventstate.core.documents import DOCUMENT, Batch
from eventstate.core.expected import ANY
from eventstate.errors import (
    CommitUnknownError,
    ConfigurationError,
    CorruptionError,
    InvalidInputError,
    JobNotFoundError,
    SchemaNewerError,
    StoreUnavailableError,
)
from eventstate.jobs.migrations import steps
from eventstate.jobs.migrations.async_job_migrator import AsyncJobMigrator
from eventstate.jobs.migrations.job_migrator import JobMigrator
from eventstate.jobs.migrations.migrating import PAGE, MigrationReport
from eventstate.jobs.migrations.steps import JobDocument, Migration
from eventstate.machines.events import Event
from eventstate.machines.together import AppendTo
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import Face, PersisterSuite, everything
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.faults import UNANSWERED, Fault, FaultyStore


def longer(document: JobDocument) -> Mapping[str, Any] | None:
    """A step that shows how often it was carried out: minutes become seconds."""
    if document.is_record:
        return {**document.state, "longer": document.state.get("longer", 0) + 1}
    if "minutes" not in document.state["payload"]:
        return None
    return {**document.state, "payload": {"minutes": document.state["payload"]["minutes"] * 60}}


LONGER = Migration(version=100, name="seconds", change=longer)


def renamed(document: JobDocument) -> Mapping[str, Any] | None:
    """A step that works on what the first one leaves; it changes what it is given, which must do no harm."""
    if document.is_record:
        return None
    document.state["payload"]["seconds"] = document.state["payload"].pop("minutes", 0)
    return document.state


RENAMED = Migration(version=101, name="named so", change=renamed)


def _after_one_commit(call: Callable[[MigrationReport], None]) -> Callable[[MigrationReport], None]:
    """Progress that is told once something was written."""

    def told(report: MigrationReport) -> None:
        if report.statuses:
            call(report)

    return told


class MigrationCases(PersisterSuite):
    """Jobs of earlier versions, brought to later ones."""

    def migrator(self, store: Store, *given: Migration) -> Face:
        face = JobMigrator if self.world.name == "sync" else AsyncJobMigrator
        return Face(cast("Any", face(store, given)))

    async def make(self, store: Store, job: str = "build", *, tasks: int = 3, schema: int | None = 1) -> Face:
        """A job whose tasks have reported, as a writer of some version left it; a persister on it."""
        persister = self.persister(store, governor=f"jobs/{job}")
        record: dict[str, Any] = {"tasks": tasks}
        if schema is not None:
            record |= {"schema": schema} if schema < 100 else {"schema": 1, "migrated": schema}
        statuses = [{"status": 1, "payload": {"minutes": task + 1}} for task in range(tasks)]
        await persister.append_together(
            AppendTo("job", Event("saved", state=record), expected=0),
            *(
                AppendTo(f"main:{task}", Event("saved", state=status), expected=0)
                for task, status in enumerate(statuses)
            ),
        )
        return persister

    async def seconds(self, persister: Face, tasks: int = 3) -> list[Any]:
        """The payloads of a job's statuses."""
        return [(await persister.load(f"main:{task}")).data["payload"] for task in range(tasks)]

    async def everything_of(self, store: Store, job: str = "build") -> Any:
        page = await store.scan(DOCUMENT, f"jobs/{job}")
        return await everything(store, f"jobs/{job}"), page.documents

    @case
    async def test_a_job_is_brought_to_the_newest_version(self) -> None:
        store = self.open()
        persister = await self.make(store, schema=None)
        migrator = self.migrator(store, RENAMED, LONGER)
        report: MigrationReport = await migrator.migrate("build")
        assert (report.jobs, report.migrated, report.statuses, report.target) == (1, 1, 6, 101)
        assert report.by_version == {1: 1, 100: 1, 101: 1}
        assert await self.seconds(persister) == [{"seconds": 60 * task} for task in (1, 2, 3)]
        assert (await persister.load("job")).data == {"tasks": 3, "longer": 1, "schema": 1, "migrated": 101}
        history = await persister.history("main:1")
        assert [step.action for step in history] == ["saved", "migrated", "migrated"]
        assert [step.metadata.reason for step in history[1:]] == ["migration 100: seconds", "migration 101: named so"]
        assert history[0].to_state["payload"] == {"minutes": 2}, "what was before stays"
        await self.consistent(persister)
        before = await self.everything_of(store)
        report = await migrator.migrate("build")
        assert (report.jobs, report.migrated, report.current, report.statuses) == (1, 0, 1, 0)
        assert await self.everything_of(store) == before, "nothing is left to do, and nothing of how far it was"

    @case
    async def test_all_jobs_or_some(self) -> None:
        store = self.open()
        made = {job: await self.make(store, job, tasks=1) for job in ("a", "b/c", "d", "é")}
        await made["d"].delete_state("job", expected=ANY)
        await self.persister(store, governor="jobs").save_state("job", {"tasks": 1}, expected=0)
        await self.persister(store, governor="jobs/x").save_state("main:0", {"status": 1}, expected=0)
        await self.make(store, "new", tasks=1, schema=100)
        migrator = self.migrator(store, LONGER)
        report: MigrationReport = await migrator.migrate(limit=1)
        assert (report.jobs, report.migrated) == (1, 1)
        report = await migrator.migrate()
        assert (report.jobs, report.migrated, report.current, report.deleted) == (5, 2, 2, 1)
        for job in ("a", "b/c", "é"):
            assert (await made[job].load("job")).data["longer"] == 1, job
        assert "longer" not in (await self.persister(store, governor="jobs").load("job")).data

    @case
    async def test_a_plan_writes_nothing_and_says_what_a_run_does(self) -> None:
        store = self.open()
        for job in ("build", "deploy"):
            await self.make(store, job, tasks=2)
        before = await self.everything_of(store)
        migrator = self.migrator(store, LONGER, RENAMED)
        plan: MigrationReport = await migrator.plan()
        assert plan.dry_run
        assert await self.everything_of(store) == before
        done: MigrationReport = await migrator.migrate()
        plan.dry_run = False
        assert plan == done

    @case
    async def test_a_step_towards_an_earlier_target(self) -> None:
        store = self.open()
        persister = await self.make(store)
        migrator = self.migrator(store, LONGER, RENAMED)
        assert (await migrator.migrate(target=100)).by_version == {100: 1}
        assert (await migrator.migrate(target=1)).current == 1, "no job goes back"
        assert (await persister.load("job")).data["migrated"] == 100
        assert (await migrator.migrate()).by_version == {101: 1}

    @case
    async def test_many_statuses_take_several_commits(self) -> None:
        store, tasks = self.open(), 2 * PAGE + 3
        persister = await self.make(store, tasks=tasks)
        await persister.delete_state("main:7", expected=ANY)
        seen: list[int] = []

        def note(report: MigrationReport) -> None:
            seen.append(report.statuses)

        report: MigrationReport = await self.migrator(store, LONGER).migrate(progress=note)
        assert report.statuses == tasks - 1
        assert len(seen) >= 3
        assert (await persister.load("job")).data["longer"] == 1
        for task in range(8, tasks):
            assert (await persister.load(f"main:{task}")).data["payload"] == {"minutes": 60 * (task + 1)}

    @case
    async def test_a_run_that_is_broken_off_is_gone_on_with(self) -> None:
        store, tasks = self.open(), PAGE + 2
        for number, (fault, place) in enumerate(product((*UNANSWERED, Fault.CANCELLED_AFTER), range(3))):
            persister = await self.make(store, f"job-{number}", tasks=tasks)
            faulty = FaultyStore(store, [*[Fault.NONE] * place, fault], runtime=self.world.steered())
            with suppress(CommitUnknownError, StoreUnavailableError, asyncio.CancelledError):
                await self.migrator(faulty, LONGER).migrate(f"job-{number}")
            while faulty.held:
                await faulty.deliver()
            await self.migrator(store, LONGER).migrate(f"job-{number}")
            assert await self.seconds(persister, tasks) == [{"minutes": 60 * task} for task in range(1, tasks + 1)]
            assert (await persister.load("job")).data == {"tasks": tasks, "schema": 1, "migrated": 100, "longer": 1}

    @case
    async def test_a_run_that_dies_between_two_commits_changes_nothing_twice(self) -> None:
        store, tasks = self.open(), PAGE + 2
        persister = await self.make(store, tasks=tasks)

        async def die(_batch: Batch) -> None:
            if len(faulty.sent) > 1:
                raise KeyboardInterrupt

        faulty = FaultyStore(store)
        faulty.before_commit = die
        with raises(KeyboardInterrupt):
            await self.migrator(faulty, LONGER).migrate()
        assert "migrated" not in (await persister.load("job")).data
        plan: MigrationReport = await self.migrator(store, LONGER).plan()
        report: MigrationReport = await self.migrator(store, LONGER).migrate()
        assert plan.statuses == report.statuses
        assert 0 < report.statuses < tasks
        assert await self.seconds(persister, tasks) == [{"minutes": 60 * task} for task in range(1, tasks + 1)]

    @case
    async def test_what_was_broken_off_says_nothing_of_a_job_begun_anew(self) -> None:
        store, tasks = self.open(), PAGE + 2
        persister = await self.make(store, tasks=tasks)

        def stop(_report: MigrationReport) -> None:
            raise KeyboardInterrupt

        with raises(KeyboardInterrupt):
            await self.migrator(store, LONGER).migrate(progress=_after_one_commit(stop))
        await persister.delete_state("job", expected=ANY)
        await persister.save_state("job", {"tasks": tasks, "schema": 1}, expected=2, reopen=True)
        for task in range(tasks):
            await persister.save_state(f"main:{task}", {"status": 1, "payload": {"minutes": task + 1}}, expected=ANY)
        report: MigrationReport = await self.migrator(store, LONGER).migrate()
        assert report.statuses == tasks
        assert await self.seconds(persister, tasks) == [{"minutes": 60 * task} for task in range(1, tasks + 1)]

    @case
    async def test_a_job_begun_anew_between_two_steps_gets_both(self) -> None:
        store = self.open()
        persister = await self.make(store)

        async def begin_anew(_batch: Batch) -> None:
            if len(faulty.sent) == 2:
                await persister.delete_state("job", expected=ANY)
                await persister.save_state("job", {"tasks": 3, "schema": 1}, expected=ANY, reopen=True)

        faulty = FaultyStore(store)
        faulty.before_commit = begin_anew
        await self.migrator(faulty, LONGER, RENAMED).migrate()
        assert (await persister.load("job")).data == {"tasks": 3, "longer": 1, "schema": 1, "migrated": 101}

    @case
    async def test_steps_of_the_library_and_of_callers_are_counted_apart(self) -> None:
        store = self.open()
        persister = await self.make(store)
        await self.migrator(store, LONGER).migrate()
        later = Migration(version=2, name="later", change=lambda document: {**document.state, "message": "later"})
        before = steps.OWN
        steps.OWN = (*before, later)
        try:
            report: MigrationReport = await self.migrator(store, LONGER).migrate()
        finally:
            steps.OWN = before
        assert report.by_version == {2: 1}
        assert (await persister.load("main:0")).data["message"] == "later"
        record = (await persister.load("job")).data
        assert (record["schema"], record["migrated"], record["longer"]) == (2, 100, 1)
        with raises(SchemaNewerError) as newer:
            await self.migrator(store, LONGER).migrate()
        assert (newer.error.found, newer.error.supported) == (2, 1)

    @case
    async def test_what_a_step_leaves_out_of_what_is_the_librarys_stays(self) -> None:
        store = self.open()
        persister = self.persister(store, governor="jobs/build")
        await persister.save_state("job", {"tasks": 1, "schema": 1, "closed": True}, expected=0)
        await persister.save_state("main:0", {"status": 1, "attempt": 3, "incarnation": 2}, expected=0)

        def anew(document: JobDocument) -> Mapping[str, Any]:
            return {"tasks": 2} if document.is_record else {"status": 2}

        await self.migrator(store, Migration(version=100, name="anew", change=anew)).migrate()
        assert (await persister.load("job")).data == {"tasks": 2, "schema": 1, "closed": True, "migrated": 100}
        assert (await persister.load("main:0")).data == {"status": 2, "attempt": 3, "incarnation": 2}

    @case
    async def test_runs_at_the_same_time(self) -> None:
        store, tasks = self.open(), PAGE + 2
        jobs = ["a", "b"]
        made = [await self.make(store, job, tasks=tasks) for job in jobs]
        await self.together([lambda: self.migrator(store, LONGER).migrate() for _ in range(3)])
        for persister in made:
            assert await self.seconds(persister, tasks) == [{"minutes": 60 * task} for task in range(1, tasks + 1)]
            assert (await persister.load("job")).data["longer"] == 1

    @case
    async def test_jobs_that_can_not_be_migrated(self) -> None:
        store = self.open()
        persister = await self.make(store, schema=102)
        migrator = self.migrator(store, LONGER, RENAMED)
        before = await self.everything_of(store)
        for run in (migrator.plan, migrator.migrate):
            with raises(SchemaNewerError) as newer:
                await run()
            assert (newer.error.found, newer.error.supported) == (102, 101)
            with raises(JobNotFoundError):
                await run("nobody")
            for odd in ({"target": 7}, {"target": True}, {"limit": -1}, {"limit": True}):
                with raises(InvalidInputError):
                    await run(**odd)
        assert await self.everything_of(store) == before
        await persister.delete_state("job", expected=ANY)
        with raises(JobNotFoundError):
            await migrator.migrate("build")
        await self.persister(store, governor="jobs/other").save_state("job", ["no record"], expected=0)
        odd = self.persister(store, governor="jobs/odd")
        await odd.save_state("job", {"tasks": 1, "schema": 1}, expected=0)
        await odd.save_state("main:0", ["no status"], expected=0)
        for job in ("other", "odd"):
            with raises(CorruptionError):
                await migrator.migrate(job)
        assert (await odd.load("job")).version == 1

    @case
    async def test_what_a_step_may_not_do(self) -> None:
        store = self.open()
        await self.make(store)
        before = await self.everything_of(store)
        bad: list[Callable[[JobDocument], Any]] = [
            lambda document: [document.state],
            lambda _document: {"status": "high", "tasks": 0},
            lambda document: {**document.state, "payload": "x" * 70_000},
            lambda document: {**document.state, "payload": float("nan")},
            lambda document: {**document.state, "phase": "odd"},
            lambda document: {**document.state, "incarnation": 7},
        ]
        for change in bad:
            with raises(InvalidInputError):
                await self.migrator(store, Migration(version=100, name="bad", change=change)).migrate()
            with raises(InvalidInputError):
                await self.migrator(store, Migration(version=100, name="bad", change=change)).plan()

        def fail(document: JobDocument) -> None:
            raise LookupError(document.task)

        with raises(LookupError) as caught:
            await self.migrator(store, Migration(version=100, name="failing", change=fail)).migrate()
        assert caught.error.__notes__ == ["migration 100 (failing) raised this at job 'build', main:0"]
        assert await self.everything_of(store) == before

    @case
    async def test_steps_that_contradict_each_other(self) -> None:
        store = self.open()
        for pair in ([LONGER, LONGER], [Migration(version=99, name="early", change=longer)]):
            with raises(ConfigurationError):
                self.migrator(store, *pair)
        for version in (0, -1, True, cast("int", "7")):
            with raises(ConfigurationError):
                Migration(version=version, name="odd", change=longer)
        for odd in (LONGER, [longer]):
            with raises(ConfigurationError):
                Face(
                    cast(
                        "Any", (JobMigrator if self.world.name == "sync" else AsyncJobMigrator)(store, cast("Any", odd))
                    )
                )
        with raises(ConfigurationError):
            Migration(version=100, name="odd", change=cast("Any", None))
        wrong = AsyncJobMigrator if self.world.name == "sync" else JobMigrator
        with raises(ConfigurationError):
            wrong(store)
