"""The seam between those who do jobs and those who keep track of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.specs import JobSpec


@runtime_checkable
class StateInterface(Protocol):
    """What an `Orchestrator` needs of a store of jobs: `JobStateStore`, or whatever else has these methods.

    A method raises what keeps it from doing its work. Unknown parents and unknown ids are a `NotFoundError`.
    """

    def create_run(self, ws_id: str | None = None, **kw: Any) -> str:
        """Create a run, ``pending``; its id."""
        ...

    def get_run(self, run_id: str) -> dict[str, Any]:
        """A run."""
        ...

    def update_run_status(self, run_id: str, status: str) -> Any:
        """Bring a run to a status."""
        ...

    def create_workstream(self, run_id: str | None, ws_id: str | None = None, **kw: Any) -> str:
        """Create a workstream; its id."""
        ...

    def list_recent_runs(self, limit: int = 10) -> list[dict[str, Any]]:
        """The newest runs, newest first."""
        ...

    def list_workstreams(self, run_id: str) -> list[dict[str, Any]]:
        """The workstreams of a run."""
        ...

    def get_workstream(self, ws_id: str) -> dict[str, Any] | None:
        """A workstream, or None."""
        ...

    def mark_job_running(
        self,
        job_id: str,
        *,
        run_id: str | None = None,
        workstream_id: str | None = None,
        tool: str | None = None,
    ) -> int:
        """Begin an attempt of a job; its number."""
        ...

    def update_job_result(
        self,
        job: JobSpec | Mapping[str, Any] | str,
        result: JobResult | Mapping[str, Any],
        *,
        attempt: int | None = None,
    ) -> bool:
        """Record how an attempt ended; whether that was its end, and not a result that comes too late."""
        ...

    def get_job(self, job_id: str) -> dict[str, Any]:
        """A job, with its result."""
        ...

    def list_jobs(self, run_id: str) -> list[dict[str, Any]]:
        """The jobs of a run."""
        ...

    def get_job_status(self, job_id: str) -> str:
        """Its status, or ``not_found``."""
        ...

    def record_event(self, event_type: str, payload: Mapping[str, Any]) -> Any:
        """Record an event of the caller's own."""
        ...


@runtime_checkable
class AsyncStateInterface(Protocol):
    """What an `AsyncOrchestrator` needs of a store of jobs: `AsyncJobStateStore`, or what else has these coroutines.

    Each is as in `StateInterface`.
    """

    async def create_run(self, ws_id: str | None = None, **kw: Any) -> str:
        """Create a run, ``pending``; its id."""
        ...

    async def get_run(self, run_id: str) -> dict[str, Any]:
        """A run."""
        ...

    async def create_workstream(self, run_id: str | None, ws_id: str | None = None, **kw: Any) -> str:
        """Create a workstream; its id."""
        ...

    async def get_workstream(self, ws_id: str) -> dict[str, Any] | None:
        """A workstream, or None."""
        ...

    async def mark_job_running(
        self,
        job_id: str,
        *,
        run_id: str | None = None,
        workstream_id: str | None = None,
        tool: str | None = None,
    ) -> int:
        """Begin an attempt of a job; its number."""
        ...

    async def update_job_result(
        self,
        job: JobSpec | Mapping[str, Any] | str,
        result: JobResult | Mapping[str, Any],
        *,
        attempt: int | None = None,
    ) -> bool:
        """Record how an attempt ended; whether that was its end, and not a result that comes too late."""
        ...

    async def get_job(self, job_id: str) -> dict[str, Any]:
        """A job, with its result."""
        ...

    async def get_job_status(self, job_id: str) -> str:
        """Its status, or ``not_found``."""
        ...
