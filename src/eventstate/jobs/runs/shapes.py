"""Runs, workstreams, jobs and their events as plain dictionaries, with times as text: what callers get."""

from __future__ import annotations

from typing import Any

from eventstate.core.instants import utc_of
from eventstate.jobs.job import JOBS, Job
from eventstate.jobs.runs.progress import RUNS, WORKSTREAMS, Noted, Run, RunNoted, Workstream, WorkstreamNoted
from eventstate.machines.past import Transition


def instant(micros: int | None) -> str | None:
    """ISO 8601 in UTC, ending in Z."""
    return None if micros is None else utc_of(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")


def id_of(machine: str, state_id: str) -> str:
    """``42`` of ``run-42``."""
    return state_id[len(machine) + 1 :]


def run_record(run_id: str, run: Run) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "status": run.status,
        "created_at": instant(run.created_at),
        "updated_at": instant(run.updated_at),
        "metadata": run.metadata,
    }


def workstream_record(workstream_id: str, workstream: Workstream) -> dict[str, Any]:
    return {
        "ws_id": workstream_id,
        "run_id": workstream.run_id,
        "status": workstream.status,
        "depends_on": workstream.depends_on,
        "created_at": instant(workstream.created_at),
        "updated_at": instant(workstream.updated_at),
        "metadata": workstream.metadata,
    }


def job_record(job_id: str, job: Job) -> dict[str, Any]:
    """A job; of one that was reported without a beginning the beginning is its end."""
    result = job.result
    return {
        "job_id": job_id,
        "run_id": job.run_id,
        "ws_id": job.workstream_id,
        "tool": job.tool,
        "step_name": job.tool,
        "status": job.status,
        "attempt": job.attempt,
        "retry_count": max(0, job.attempt - 1),
        "queue": None if job.queued_at is None else job.queue,
        "priority": job.priority,
        "queued_at": instant(job.queued_at),
        "started_at": instant(started_at(job)),
        "completed_at": instant(job.completed_at),
        "exit_code": result.get("exit_code") if result else None,
        "error_message": job.error_message,
        "result": result,
        "worker": job.worker,
        "late_results": job.late_results,
    }


def started_at(job: Job) -> int | None:
    """When its latest attempt began, as far as that is known."""
    return job.started_at if job.started_at is not None else job.completed_at


def event_record(step: Transition) -> dict[str, Any]:
    """One event of the audit trail. What others recorded has the name that they gave it."""
    machine, _, id = step.state_id.partition("-")
    run_id: str | None = None
    workstream_id: str | None = None
    job_id: str | None = None
    payload: dict[str, Any] = {}
    state = step.to_state
    if machine == JOBS.name and isinstance(state, Job):
        run_id, workstream_id, job_id = state.run_id, state.workstream_id, id
        payload = _job_payload(id, state, step)
    elif machine == RUNS.name:
        run_id = id
    elif machine == WORKSTREAMS.name:
        workstream_id = id
        run_id = state.run_id if isinstance(state, Workstream) else None
    if isinstance(step.data, RunNoted | WorkstreamNoted | Noted):
        name, payload = step.data.name, step.data.payload
        workstream_id = workstream_id or payload.get("ws_id")
        job_id = payload.get("job_id")
    else:
        name = step.action
        payload = payload or _members(step)
    return {
        "event_id": f"{step.state_id}:{step.version}",
        "event_type": name,
        "timestamp": instant_of(step),
        "run_id": run_id,
        "ws_id": workstream_id,
        "job_id": job_id,
        "payload": payload,
    }


def instant_of(step: Transition) -> str:
    return step.timestamp.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _members(step: Transition) -> dict[str, Any]:
    """What a typed event says, without its time and what it leaves open."""
    members: dict[str, Any] = getattr(step.data, "__dict__", {})
    return {name: value for name, value in members.items() if name != "at" and value not in (None, {}, [], "")}


def _job_payload(job_id: str, job: Job, step: Transition) -> dict[str, Any]:
    members = _members(step)
    members.pop("workstream_id", None)
    result: dict[str, Any] = members.get("result", {})
    return {
        **members,
        "job_id": job_id,
        "run_id": job.run_id,
        "ws_id": job.workstream_id,
        "tool": job.tool,
        "status": job.status,
        "exit_code": result.get("exit_code"),
        "duration_s": result.get("duration_s"),
    }
