"""What there is now: queues, what runs, what waits for its time, runs and orchestrations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eventstate.jobs.job import RUNNING
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.core import id_in
from eventstate.jobs.queue.job_queue import JobQueue, queueing_of
from eventstate.jobs.queue.survey import LimitUse, QueueDepth
from eventstate.jobs.runs.job_state_store import JobStateStore
from eventstate.jobs.view.log import OrchestrationLog
from eventstate.jobs.view.machine import ORCHESTRATIONS
from eventstate.jobs.view.snapshot import snapshot_of
from eventstate.machines.persister import StateMachinePersister
from eventstate.runtime.blocking import drive

if TYPE_CHECKING:
    from eventstate.jobs.view.snapshot import OrchestrationSnapshot
    from eventstate.stores.base import Store
    from eventstate.stores.watching import Watch

MOST: Final = 100
"""Rows read of anything: more than a window shows."""
MOST_RUNS: Final = 10


class Running(NamedTuple):
    """A job that somebody works on. ``started_at``: microseconds since 1970 UTC."""

    job_id: str
    worker: str
    attempt: int
    started_at: int | None


class Delayed(NamedTuple):
    """A job that waits for its time, microseconds since 1970 UTC."""

    job_id: str
    queue: str
    due_at: int


class Look(NamedTuple):
    """What there is at one moment.

    Attributes:
        at: microseconds since 1970 UTC.
        running: those that have run longest first; of many some.
        total_running: how many there are.
        delayed: those whose time comes next.
        runs: the newest first.
        orchestrations: those that anything happened to last, first.
    """

    at: int
    queues: Sequence[QueueDepth] = ()
    limits: Sequence[LimitUse] = ()
    running: Sequence[Running] = ()
    total_running: int = 0
    delayed: Sequence[Delayed] = ()
    runs: Sequence[dict[str, Any]] = ()
    orchestrations: Sequence[tuple[str, OrchestrationSnapshot]] = ()


class Looking:
    """Reads what there is, as lists that are hints: what changes meanwhile is seen by the next look."""

    def __init__(self, store: Store, governor: str) -> None:
        self._store = store
        self._governor = governor
        self._queue = JobQueue(store, governor=governor)
        self._queueing = queueing_of(self._queue)
        self._runs = JobStateStore(store=store, governor=governor)
        self._orchestrations: dict[str, OrchestrationSnapshot] = {}

    def watch(self) -> Watch:
        """Wake-ups where something about a queue changes that is no event of a job."""
        return self._queueing.core.watch()

    def begin(self) -> None:
        """Find the orchestrations that are under way. Afterwards they are looked at as something happens to them."""
        persister = StateMachinePersister(self._store, governor=self._governor, machines=[ORCHESTRATIONS])
        for state in persister.list_states(machine=ORCHESTRATIONS.name, state="running", limit=MOST).states:
            self._orchestrations[state.id.partition("-")[2]] = snapshot_of(state.data, connected=False)

    def look(self, started: Iterable[str], changed: Iterable[str]) -> Look:
        """What there is now.

        Args:
            started: jobs that may run, though no queue knows of them.
            changed: orchestrations that are to be read again.
        """
        self._refresh(changed)
        queues = self._queue.depths()
        running = self._running(started)
        return Look(
            at=self._store.runtime.now(),
            queues=queues,
            limits=self._queue.limits(),
            running=running,
            total_running=max(len(running), sum(queue.running for queue in queues)),
            delayed=self._delayed([queue.queue for queue in queues if queue.delayed]),
            runs=self._runs.list_recent_runs(MOST_RUNS),
            orchestrations=list(reversed(self._orchestrations.items())),
        )

    def _running(self, started: Iterable[str]) -> list[Running]:
        page = drive(self._queueing.core.list(layout.RUNNING, limit=MOST))
        ids = [id_in(document).partition("/")[2] for document in page.documents]
        jobs = drive(self._queueing.survey.jobs(list(dict.fromkeys([*ids, *started]))))
        found = [
            Running(id, job.worker or "", job.attempt, job.started_at)
            for id, job in jobs.items()
            if job.status == RUNNING
        ]
        return sorted(found, key=lambda one: (one.started_at or 0, one.job_id))

    def _delayed(self, queues: Sequence[str]) -> list[Delayed]:
        found: list[Delayed] = []
        for queue in queues[:MOST]:
            page = drive(self._queueing.core.list(layout.DELAYED, f"{queue}/", limit=MOST))
            for document in page.documents:
                due_at, _, id = id_in(document).partition("/")[2].partition(":")
                found.append(Delayed(id, queue, int(due_at)))
        return sorted(found, key=lambda one: one.due_at)[:MOST]

    def _refresh(self, changed: Iterable[str]) -> None:
        for id in changed:
            self._orchestrations.pop(id, None)
            self._orchestrations[id] = OrchestrationLog(self._store, id, governor=self._governor).snapshot()
        for id in list(islice(self._orchestrations, max(0, len(self._orchestrations) - MOST))):
            del self._orchestrations[id]
