"""Doing jobs: the tool that does each, and the record of how it went."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, Self, cast

from eventstate.errors import ConfigurationError, InvalidInputError
from eventstate.jobs.orchestrator.callable_tool import raised_result
from eventstate.jobs.orchestrator.orchestrating import Awaited, Done, Orchestrating
from eventstate.jobs.orchestrator.subprocess_tool import SubprocessTool
from eventstate.jobs.orchestrator.tool import Tool, ToolContext, Tools
from eventstate.jobs.runs.interface import StateInterface
from eventstate.jobs.runs.job_state_store import JobStateStore
from eventstate.jobs.runs.results import NO_JOB_FILE, JobResult
from eventstate.jobs.runs.specs import JobSpec
from eventstate.runtime.blocking import drive

if TYPE_CHECKING:
    from eventstate.jobs.queue.job_queue import JobQueue
    from eventstate.jobs.queue.requests import JobRequest

PROGRAMS: Final[Mapping[str, float]] = {"aider": 600.0, "codex": 600.0, "tests": 300.0, "git": 60.0}
"""Tools that run a program unless others are given, and the seconds that each may take."""


def default_tools() -> Tools:
    """``aider``, ``codex``, ``tests`` and ``git``: each runs the program that its job names."""
    return Tools({name: SubprocessTool(timeout=seconds) for name, seconds in PROGRAMS.items()})


class Orchestrator:
    """Runs jobs and keeps track of them.

    Args:
        state_store: where they are tracked; by default a `JobStateStore` on its usual file, which `close` closes.
        tools: what does them, by name; by default `default_tools`.
        queue: for `queue_job`; by default one in the store of ``state_store``.
        create_parents: make the run and the workstream that a job names where they are not there. Otherwise such a
            job is refused.

    Raises:
        ConfigurationError: the store is no `StateInterface`, or one for asyncio; or a tool is none.
    """

    def __init__(
        self,
        state_store: StateInterface | None = None,
        tools: Mapping[str, Tool | Callable[..., Any]] | None = None,
        *,
        queue: JobQueue | None = None,
        create_parents: bool = True,
    ) -> None:
        self.tools = default_tools() if tools is None else Tools.of(tools)  # refused before a file is opened
        self._owned = JobStateStore() if state_store is None else None
        self.state_store: StateInterface = self._owned if self._owned is not None else _given(state_store)
        self._queue = queue
        self._core = Orchestrating(Awaited(self.state_store), self.tools, creates_parents=create_parents)

    def run_job(self, path: str | os.PathLike[str]) -> JobResult:
        """Do the job of a file now, and return how it ended.

        The exit code is that of the program; -1 when its time was up, -2 when the tool raised, -3 when there is no
        such file, -4 when nobody knows the tool. The job is ``running`` while it is done. A success is one that is
        recorded: where the store fails, its error is raised, with a note about how the job ended if it was done. A
        result that comes too late, since the job was begun anew elsewhere, has ``late`` in its metadata.

        Raises:
            JobFileError: the file is no job file; nothing was done.
            JobFinishedError, AlreadyExistsError: the job has ended, or is another run's; nothing was done.
            RunNotFoundError, WorkstreamNotFoundError: without ``create_parents``; nothing was done.
            StoreError and its kin, CommitUnknownError: the store failed.
        """
        from eventstate.jobs.orchestrator.job_file import read_job_file  # pydantic takes its time

        try:
            job = read_job_file(path)
        except FileNotFoundError:
            return JobResult(NO_JOB_FILE, stderr=f"there is no job file {os.fspath(path)!r}")
        return self.run(job)

    def run(self, job: JobSpec) -> JobResult:
        """The same for a job at hand."""
        return drive(self._core.run(job, _perform))

    def queue_job(self, job: JobRequest | JobSpec | Mapping[str, Any]) -> str:
        """Have a worker do a job later; its id. See `JobQueue.queue_job`."""
        from eventstate.jobs.queue.requests import JobRequest  # needed by few who run jobs

        request = JobRequest.of(job)
        drive(self._core.create_parents(request.run_id, request.workstream_id))
        return self.queue.queue_job(request)

    @property
    def queue(self) -> JobQueue:
        """The queue that `queue_job` puts jobs into."""
        if self._queue is None:
            self._queue = _queue_of(self.state_store)
        return self._queue

    def get_job_status(self, job_id: str) -> str:
        """The status of a job; ``not_found`` where it is not known."""
        return self.state_store.get_job_status(job_id)

    def close(self) -> None:
        """Close the store that it opened itself."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _given(store: object) -> StateInterface:
    """The store, if it is one. The calls of one for asyncio would do nothing, and look as if they had."""
    report = getattr(store, "update_job_result", None)
    if not callable(report):
        raise ConfigurationError(f"{store!r} is no store of jobs: pass a JobStateStore, or a StateInterface like it")
    if iscoroutinefunction(report):
        raise ConfigurationError(f"{type(store).__name__} is for asyncio: pass a JobStateStore")
    return cast("StateInterface", store)


async def _perform(tool: Tool, job: JobSpec, context: ToolContext) -> Done:
    """Call a tool on the caller's own thread."""
    try:
        return Done(JobResult.of(tool.run(job, context)))
    except Exception as error:  # noqa: BLE001 - whatever a tool raises is how its job ended
        return Done(raised_result(error, context.seconds))


def _queue_of(store: StateInterface) -> JobQueue:
    from eventstate.jobs.queue.job_queue import JobQueue

    if not isinstance(store, JobStateStore):
        raise InvalidInputError("queue_job() needs a queue: pass queue= to the Orchestrator")
    return JobQueue(store.store, governor=store.governor)
