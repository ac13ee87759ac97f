"""Whatever is called in whatever order: statuses are what the events say, and each step is exactly one event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstate import EventStateError, JobResult, JobSpec, JobStateStore, StateMachinePersister, open_store
from eventstate.core.codec import encode
from eventstate.jobs.job import TERMINAL
from eventstate.jobs.runs.progress import RUN_STATUSES, RUN_TRANSITIONS
from eventstate.runtime.blocking import drive
from eventstate.testing.job_audit import audit_jobs
from eventstate.testing.planted import PLANTS

RUNS, JOBS = ("r1", "r2", "none"), ("a", "b")
RESULTS = st.sampled_from([JobResult(0), JobResult(1), JobResult(-1), JobResult(4, success=True)])
CALLS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(RUNS[:2])),
    st.tuples(st.just("status"), st.sampled_from(RUNS), st.sampled_from(RUN_STATUSES)),
    st.tuples(st.just("delete"), st.sampled_from(RUNS)),
    st.tuples(st.just("note"), st.sampled_from(RUNS)),
    st.tuples(st.just("start"), st.sampled_from(JOBS), st.sampled_from([*RUNS, None])),
    st.tuples(st.just("end"), st.sampled_from(JOBS), st.sampled_from([*RUNS, None]), RESULTS, st.integers(0, 3)),
)
SUCCESS = JobResult(0)
LEGAL = {(source, target) for source, _, target in RUN_TRANSITIONS}


class Model:
    """What must be there, by the rules in words."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.gone: set[str] = set()
        self.jobs: dict[str, list[Any]] = {}
        """Status, run, attempts, late results."""

    def step(self, call: tuple[Any, ...]) -> int | None:
        """How many events the call leaves; None where it must be refused."""
        return getattr(self, call[0])(*call[1:])

    def create(self, run: str) -> int | None:
        if run in self.runs or run in self.gone:
            return None
        self.runs[run] = "pending"
        return 1

    def status(self, run: str, status: str) -> int | None:
        if run not in self.runs:
            return None
        if self.runs[run] == status:
            return 0
        if (self.runs[run], status) not in LEGAL:
            return None
        self.runs[run] = status
        return 1

    def delete(self, run: str) -> int | None:
        if self.runs.pop(run, None) is None:
            return None
        self.gone.add(run)
        return 1

    def note(self, run: str) -> int | None:
        return 1 if run in self.runs else None

    def start(self, job: str, run: str | None) -> int | None:
        known = self.jobs.get(job)
        if self._is_nowhere(known, run):
            return None
        if known is None:
            if run is None:
                return None
            self.jobs[job] = ["running", run, 1, 0]
            return 1
        if known[0] in TERMINAL or self._is_others(known, run):
            return None
        known[:] = ["running", known[1] or run, known[2] + 1, known[3]]
        return 1

    def end(self, job: str, run: str | None, result: JobResult, attempt: int) -> int | None:
        known = self.jobs.get(job)
        if known is None:
            if self._is_nowhere(known, run) or attempt > 1:
                return None
            self.jobs[job] = [result.outcome, run, 1, 0]
            return 1
        if self._is_nowhere(known, run) or self._is_others(known, run) or attempt > known[2]:
            return None
        if known[0] in TERMINAL or 0 < attempt < known[2]:
            known[3] += 1
            return 1
        known[:] = [result.outcome, known[1] or run, known[2], known[3]]
        return 1

    def _is_nowhere(self, known: list[Any] | None, run: str | None) -> bool:
        """Whether a run is named that is not there; the one that a job is of already may be gone."""
        return run is not None and run not in self.runs and (known is None or known[1] != run)

    def _is_others(self, known: list[Any], run: str | None) -> bool:
        return run is not None and known[1] is not None and known[1] != run


def calls_of(store: JobStateStore) -> dict[str, Callable[..., Any]]:
    return {
        "create": lambda run: store.create_run(run_id=run),
        "status": store.update_run_status,
        "delete": store.delete_run,
        "note": lambda run: store.record_event("note", {"run_id": run}),
        "start": lambda job, run: store.mark_job_running(job, run_id=run),
        "end": lambda job, run, result, attempt: store.update_job_result(
            JobSpec(job, run_id=run), result, attempt=attempt or None
        ),
    }


def check_sequence(url: str, calls: list[tuple[Any, ...]]) -> None:
    model = Model()
    with open_store(url) as store:
        jobs = JobStateStore(store=store)
        persister = StateMachinePersister(store, governor="jobs")
        real = calls_of(jobs)
        for call in calls:
            before = persister.get_stats().total_versions
            events = model.step(call)
            try:
                real[call[0]](*call[1:])
            except EventStateError:
                assert events is None, f"{call} was refused"
            else:
                assert events is not None, f"{call} was not refused"
            assert persister.get_stats().total_versions == before + (events or 0), call
        for run, status in model.runs.items():
            assert jobs.get_run(run)["status"] == status
        for id, (status, run, attempts, late) in model.jobs.items():
            found = jobs.get_job(id)
            assert [found["status"], found["run_id"], max(1, found["attempt"])] == [status, run, attempts]
            assert found["late_results"] == late
        assert drive(audit_jobs(store)) == []


@pytest.mark.backend("memory")
@settings(max_examples=60)
@given(st.lists(CALLS, max_size=25))
def test_any_calls_leave_what_their_events_say(calls: list[tuple[Any, ...]]) -> None:
    check_sequence("memory://", calls)


@pytest.mark.backend("memory")
@pytest.mark.torture
@settings(max_examples=3000)
@given(st.lists(CALLS, max_size=60))
def test_any_calls_at_length(calls: list[tuple[Any, ...]]) -> None:
    check_sequence("memory://", calls)


TWICE = [("create", "r1"), ("start", "a", "r1"), ("start", "a", None)]
FOUND = [
    (
        "any-attempt-counts",
        [("create", "r1"), ("start", "a", "r1"), ("start", "a", None), ("end", "a", None, SUCCESS, 1)],
    ),
    ("late-results-dropped", [("end", "a", None, SUCCESS, 0), ("end", "a", None, SUCCESS, 0)]),
    ("parents-believed", [("start", "a", "none")]),
    ("deleted-runs-stay-listed", [("create", "r1"), ("delete", "r1")]),
]


@pytest.mark.backend("memory")
@pytest.mark.parametrize(("bug", "calls"), FOUND, ids=[bug for bug, _ in FOUND])
def test_the_law_can_fail(bug: str, calls: list[tuple[Any, ...]]) -> None:
    check_sequence("memory://", calls)
    plant = next(plant for plant in PLANTS if plant.name == bug)
    with plant.planted(), pytest.raises(AssertionError):
        check_sequence("memory://", calls)


@given(st.text(), st.text(), st.integers(-5, 300), st.booleans())
def test_every_result_can_be_stored(stdout: str, stderr: str, code: int, success: bool) -> None:
    result = JobResult(1, stdout=stdout, stderr=stderr + "\udcff", success=success)
    result.exit_code = code  # as a tool may that fills one in
    encode([result.summary("job"), result.error_message])
    assert result.outcome in ("completed", "failed", "timeout")
    assert (result.outcome == "completed") == (success or code == 0)
