"""The asyncio face of doing jobs: the methods of `Orchestrator`, awaited, with tools that may be coroutines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Self, cast

from eventstate.errors import ConfigurationError, InvalidInputError
from eventstate.jobs.orchestrator.async_tool import AnyTool, async_tools
from eventstate.jobs.orchestrator.orchestrating import Done, Orchestrating, interrupted
from eventstate.jobs.orchestrator.orchestrator import default_tools
from eventstate.jobs.orchestrator.tool import ToolContext
from eventstate.jobs.runs.async_job_state_store import AsyncJobStateStore
from eventstate.jobs.runs.interface import AsyncStateInterface
from eventstate.jobs.runs.results import NO_JOB_FILE, JobResult
from eventstate.jobs.runs.specs import JobSpec

if TYPE_CHECKING:
    from eventstate.jobs.orchestrator.calling import ToolCall
    from eventstate.jobs.queue.async_job_queue import AsyncJobQueue
    from eventstate.jobs.queue.requests import JobRequest


class AsyncOrchestrator:
    """`Orchestrator` for asyncio, made inside the running loop. Runs many jobs at the same time.

    Tools are coroutines in that loop, which never block it, or functions in threads. Where a `run` is cancelled, so is
    its tool: what that comes to is recorded, and then the cancellation goes on. Cancelled again, it does not wait for
    the tool any more.
    """

    def __init__(
        self,
        state_store: AsyncStateInterface | None = None,
        tools: Mapping[str, AnyTool | Callable[..., Any]] | None = None,
        *,
        queue: AsyncJobQueue | None = None,
        create_parents: bool = True,
    ) -> None:
        given = default_tools() if tools is None else tools
        self.tools = async_tools(given)  # refused before a file is opened
        self._owned = AsyncJobStateStore() if state_store is None else None
        self.state_store: AsyncStateInterface = self._owned if self._owned is not None else _given(state_store)
        self._queue = queue
        self._core = Orchestrating(self.state_store, self.tools, creates_parents=create_parents)

    async def run_job(self, path: str | os.PathLike[str]) -> JobResult:
        """As `Orchestrator.run_job`."""
        from eventstate.jobs.orchestrator.job_file import read_job_file  # pydantic takes its time

        try:
            job = read_job_file(path)
        except FileNotFoundError:
            return JobResult(NO_JOB_FILE, stderr=f"there is no job file {os.fspath(path)!r}")
        return await self.run(job)

    async def run(self, job: JobSpec) -> JobResult:
        """As `Orchestrator.run`."""
        from eventstate.runtime.calls import uninterrupted  # asyncio is for those who use it

        calling = _Calling()
        return await uninterrupted(self._core.run(job, calling.perform), calling.stop)

    async def queue_job(self, job: JobRequest | JobSpec | Mapping[str, Any]) -> str:
        """As `Orchestrator.queue_job`."""
        from eventstate.jobs.queue.requests import JobRequest  # needed by few who run jobs

        request = JobRequest.of(job)
        await self._core.create_parents(request.run_id, request.workstream_id)
        return await self.queue.queue_job(request)

    @property
    def queue(self) -> AsyncJobQueue:
        """As `Orchestrator.queue`."""
        if self._queue is None:
            self._queue = _queue_of(self.state_store)
        return self._queue

    async def get_job_status(self, job_id: str) -> str:
        """As `Orchestrator.get_job_status`."""
        return await self.state_store.get_job_status(job_id)

    async def close(self) -> None:
        """As `Orchestrator.close`."""
        if self._owned is not None:
            await self._owned.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Calling:
    """The call of a tool for one job, which can be stopped at any time."""

    def __init__(self) -> None:
        self._call: ToolCall | None = None
        self._context: ToolContext | None = None
        self._stops = 0

    async def perform(self, tool: AnyTool, job: JobSpec, context: ToolContext) -> Done:
        from eventstate.jobs.orchestrator.calling import begin, result_of_call

        if self._stops:
            return Done(interrupted())
        self._context = context
        self._call = begin(tool, job, context)
        interruption = await self._call.end(self._tell)
        try:
            result = result_of_call(self._call.outcome, context)
        except BaseException as error:  # noqa: BLE001 - such as SystemExit: recorded, then raised
            return Done(interrupted(), error)
        return Done(result, interruption)

    def stop(self) -> None:
        """Tell the tool to end; the second time, wait for it no more."""
        self._stops += 1
        self._tell()
        if self._call is not None and self._stops > 1:
            self._call.abandon()

    def _tell(self) -> None:
        from eventstate.jobs.orchestrator.calling import stop

        if self._context is not None:
            stop(self._call, self._context)


def _given(store: object) -> AsyncStateInterface:
    """The store, if it is one. The calls of one for sync callers would block the loop."""
    report = getattr(store, "update_job_result", None)
    if not callable(report):
        raise ConfigurationError(f"{store!r} is no store of jobs: pass an AsyncJobStateStore, or what is like it")
    if not iscoroutinefunction(report):
        raise ConfigurationError(f"{type(store).__name__} is for sync callers: pass an AsyncJobStateStore")
    return cast("AsyncStateInterface", store)


def _queue_of(store: AsyncStateInterface) -> AsyncJobQueue:
    from eventstate.jobs.queue.async_job_queue import AsyncJobQueue

    if not isinstance(store, AsyncJobStateStore):
        raise InvalidInputError("queue_job() needs a queue: pass queue= to the AsyncOrchestrator")
    return AsyncJobQueue(store.store, governor=store.governor)
