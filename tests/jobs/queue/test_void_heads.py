"""A head without events, which only keeps a late copy of a batch out, is no job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventstate import JobNotFoundError, JobQueue, JobRequest, open_store
from eventstate.core.documents import Committed
from eventstate.core.format import unborn
from eventstate.core.planner import plan_head
from eventstate.jobs.queue import enqueuing
from eventstate.runtime.blocking import drive
from eventstate.runtime.clock import unique
from eventstate.stores.base import Store
from eventstate.testing.queues import queue_problems

pytestmark = pytest.mark.backend("memory")


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        head = plan_head(unborn("jobs", "job-never"), None, "", {}, token=unique())
        assert isinstance(drive(opened.commit(head.batch)), Committed)
        yield opened


def request(job_id: str, *needs: str) -> JobRequest:
    return JobRequest(job_id=job_id, tool="t", depends_on=needs)


def test_it_is_in_nobodys_way(store: Store) -> None:
    queue = JobQueue(store)
    assert queue_problems(store, is_over=True) == []
    assert list(queue.list_jobs()) == []
    with pytest.raises(JobNotFoundError):
        queue.cancel("never")
    assert queue.queue_job(request("never")) == "never"
    assert queue.job("never").status == "queued"
    assert queue_problems(store) == []


def test_nothing_depends_on_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enqueuing, "CHUNK_OPERATIONS", 1)
    queue = JobQueue(store)
    with pytest.raises(JobNotFoundError, match="never"):
        queue.queue_jobs([request("a"), request("b", "a", "never")])
    assert list(queue.list_jobs()) == [], "the first of several commits was made"
