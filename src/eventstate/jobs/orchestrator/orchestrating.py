"""What both orchestrators do, written once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from eventstate.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from eventstate.jobs.job import RUNNING
from eventstate.jobs.orchestrator.callable_tool import CANCELLED_CODE
from eventstate.jobs.orchestrator.tool import ToolContext
from eventstate.jobs.runs.interface import AsyncStateInterface, StateInterface
from eventstate.jobs.runs.results import TOOL_FAILED, UNKNOWN_TOOL, JobResult
from eventstate.jobs.runs.specs import JobSpec


class Done(NamedTuple):
    """How a job ended, and what is to be raised once that is recorded."""

    result: JobResult
    interruption: BaseException | None = None


Perform: TypeAlias = Callable[[Any, JobSpec, ToolContext], Awaitable[Done]]
"""Calls a tool; what it raises is a failure of its job."""


class Orchestrating:
    """Runs jobs and keeps track of them."""

    def __init__(self, store: AsyncStateInterface, tools: Mapping[str, Any], *, creates_parents: bool) -> None:
        self._store = store
        self._tools = tools
        self._creates_parents = creates_parents

    async def run(self, job: JobSpec, perform: Perform) -> JobResult:
        """As `Orchestrator.run`."""
        if not await self._is_others(job):
            await self.create_parents(job.run_id, job.workstream_id)
        attempt = await self._store.mark_job_running(
            job.job_id, run_id=job.run_id, workstream_id=job.workstream_id, tool=job.tool
        )
        done = Done(interrupted())
        try:
            done = await self._done(job, attempt, perform)
            recorded = await self._recorded(job, done.result, attempt)
        except (Exception, GeneratorExit):
            raise
        except BaseException:  # of the process, such as Ctrl-C: the job must not seem to run for ever
            with suppress(Exception):
                if await self._store.get_job_status(job.job_id) == RUNNING:
                    await self._recorded(job, done.result, attempt)
            raise
        if done.interruption is not None:
            raise done.interruption
        return recorded

    async def _done(self, job: JobSpec, attempt: int, perform: Perform) -> Done:
        tool = self._tools.get(job.tool)
        if tool is None:
            known = ", ".join(sorted(self._tools)) or "none"
            return Done(JobResult(UNKNOWN_TOOL, stderr=f"no tool {job.tool!r}; known are {known}"))
        try:
            timeout = job.metadata.get("timeout_seconds")
        except Exception as error:  # noqa: BLE001 - a job that is none is one that its tool can't do
            return Done(JobResult(TOOL_FAILED, stderr=f"{type(error).__name__}: {error}"))
        return await perform(tool, job, ToolContext(job.job_id, attempt, timeout))

    async def _recorded(self, job: JobSpec, result: JobResult, attempt: int) -> JobResult:
        """Record a result; what a caller gets of it.

        Raises:
            Exception: what the store raised.
        """
        try:
            counts = await self._store.update_job_result(job, result, attempt=attempt)
        except InvalidInputError as error:  # the tool's result can't be stored: then the tool has failed
            if result.exit_code == TOOL_FAILED:
                raise
            failed = JobResult(TOOL_FAILED, stderr=f"its result can't be stored: {error}")
            return await self._recorded(job, failed, attempt)
        except Exception as error:
            error.add_note(f"job {job.job_id!r} ended with exit code {result.exit_code}; this is not recorded")
            raise
        return result if counts else replace(result, metadata={**result.metadata, "late": True})

    async def _is_others(self, job: JobSpec) -> bool:
        """Whether it is known as a job of another run or workstream: it will be refused, so nothing is made for it."""
        try:
            known = await self._store.get_job(job.job_id) if self._creates_parents else {}
        except NotFoundError:
            return False
        named = {"run_id": job.run_id, "ws_id": job.workstream_id}
        return any(other and known.get(what) not in (None, other) for what, other in named.items())

    async def create_parents(self, run_id: str | None, workstream_id: str | None) -> None:
        """Make the run and the workstream that a job names where they are not there, if that is wanted."""
        if not self._creates_parents:
            return
        store = self._store
        if run_id is not None:
            try:
                await store.get_run(run_id)
            except NotFoundError:
                await _create(store.create_run(run_id=run_id))
        if workstream_id is not None and await store.get_workstream(workstream_id) is None:
            await _create(store.create_workstream(run_id, workstream_id))


def interrupted() -> JobResult:
    """The result of a job that was left before it was done."""
    return JobResult(CANCELLED_CODE, stderr="interrupted")


async def _create(creation: Awaitable[object]) -> None:
    with suppress(AlreadyExistsError):  # somebody else just did
        await creation


class Awaited:
    """A `StateInterface` whose methods are coroutines that never wait."""

    def __init__(self, store: StateInterface) -> None:
        self._store = store

    async def create_run(self, ws_id: str | None = None, **kw: Any) -> str:
        return self._store.create_run(ws_id, **kw)

    async def get_run(self, run_id: str) -> dict[str, Any]:
        return self._store.get_run(run_id)

    async def create_workstream(self, run_id: str | None, ws_id: str | None = None, **kw: Any) -> str:
        return self._store.create_workstream(run_id, ws_id, **kw)

    async def get_workstream(self, ws_id: str) -> dict[str, Any] | None:
        return self._store.get_workstream(ws_id)

    async def mark_job_running(
        self,
        job_id: str,
        *,
        run_id: str | None = None,
        workstream_id: str | None = None,
        tool: str | None = None,
    ) -> int:
        return self._store.mark_job_running(job_id, run_id=run_id, workstream_id=workstream_id, tool=tool)

    async def update_job_result(
        self,
        job: JobSpec | Mapping[str, Any] | str,
        result: JobResult | Mapping[str, Any],
        *,
        attempt: int | None = None,
    ) -> bool:
        return self._store.update_job_result(job, result, attempt=attempt)

    async def get_job(self, job_id: str) -> dict[str, Any]:
        return self._store.get_job(job_id)

    async def get_job_status(self, job_id: str) -> str:
        return self._store.get_job_status(job_id)
