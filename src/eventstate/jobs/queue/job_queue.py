"""The sync face of a queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eventstate.errors import ConfigurationError
from eventstate.jobs.job import Job
from eventstate.jobs.queue.queueing import GOVERNOR, HealedQueue, Queueing
from eventstate.jobs.queue.requests import JobRequest
from eventstate.jobs.queue.survey import AskedJob, LimitUse, QueueDepth, check_status
from eventstate.jobs.runs.specs import JobSpec
from eventstate.machines.states import StateSnapshot
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store


class JobQueue:
    """Jobs that wait for workers, in processes of their own, and what became of them.

    Each job is a stream; its status and the event that led to it are one commit. Safe to use from many threads and
    processes.

    Args:
        store: from `open_store`.
        governor: the namespace that owns the jobs. What a job's tool writes under its fence belongs to the same one.
    """

    def __init__(self, store: Store, *, governor: str = GOVERNOR) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncJobQueue with it")
        self._queueing = Queueing(store, governor)

    def queue_job(self, job: JobRequest | JobSpec | Mapping[str, Any]) -> str:
        """Queue one job; its id. The same job again changes nothing.

        Raises:
            AlreadyExistsError: there is another job of this id.
            JobNotFoundError: it depends on a job that there is not.
            RunNotFoundError, WorkstreamNotFoundError: it belongs to what there is not.
            InvalidInputError, InvalidIdError, EncodingError: it can't be queued.
        """
        return self.queue_jobs([job])[0]

    def queue_jobs(self, jobs: Sequence[JobRequest | JobSpec | Mapping[str, Any]]) -> list[str]:
        """Queue jobs that may depend on each other, in any order; their ids.

        Nothing is queued unless all of them can be. Many come in several commits; if a later one fails, the same
        call queues the rest.

        Raises:
            DependencyCycleError: they depend on each other in a circle.

        Otherwise raises like `queue_job`.
        """
        return drive(self._queueing.enqueuing.queue_jobs(jobs))

    def cancel(self, job_id: str, *, reason: str | None = None) -> str:
        """Have a job not run, or stop it if it runs; its status, which is ``running`` until its worker has stopped it.

        Raises:
            JobNotFoundError: there is no such job.
            JobFinishedError: it has ended otherwise.
        """
        return drive(self._queueing.deciding.cancel(job_id, reason))

    def revive(self, job_id: str, *, reason: str | None = None) -> str:
        """Have a job that is dead or lost wait again, with its failures forgiven; its status.

        Raises:
            JobNotFoundError: there is no such job.
            JobFinishedError: it has ended otherwise.
        """
        return drive(self._queueing.deciding.revive(job_id, reason))

    def answer(self, job_id: str, answer: str, *, reason: str | None = None) -> str:
        """Decide about a job that people are asked about: ``requeue`` or ``fail``; its status.

        Raises:
            JobNotFoundError: there is no such job.
            InvalidInputError: another answer, or nobody is asked about it.
        """
        return drive(self._queueing.deciding.answer(job_id, answer, reason))

    def set_limit(self, name: str, most: int | None) -> None:
        """Let at most so many jobs run at a time that name this limit; None for any number.

        Jobs that run already when a limit is lowered go on.
        """
        drive(self._queueing.deciding.set_limit(name, most))

    def job(self, job_id: str) -> Job:
        """A job as it is.

        Raises:
            JobNotFoundError: there is no such job.
        """
        return drive(self._queueing.survey.job(job_id))

    def list_jobs(self, *, status: str | None = None) -> Iterator[StateSnapshot[Job]]:
        """All jobs, or those of one status, by id; a page at a time."""
        after: str | None = ""
        check_status(status)
        while after is not None:
            page = drive(self._queueing.survey.page(status, after))
            yield from page.jobs
            after = page.next

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each status that any has. Reads all of them; `depths` does not."""
        return drive(self._queueing.survey.counts())

    def depths(self) -> list[QueueDepth]:
        """How many jobs wait for what in each queue that has any, and how many run."""
        return drive(self._queueing.survey.depths())

    def limits(self) -> list[LimitUse]:
        """The limits that are set, and how many jobs run that count for each."""
        return drive(self._queueing.survey.limits())

    def asked(self, people: str | None = None) -> Iterator[AskedJob]:
        """The jobs that somebody is asked about: these people, or anybody."""
        after: str | None = None
        while True:
            found, after = drive(self._queueing.survey.asked_page(people, after))
            yield from found
            if after is None:
                return

    def heal(self, queues: Sequence[str] = ("default",)) -> HealedQueue:
        """Do what workers do by themselves now and then: end the jobs of dead workers, let those go on that wait."""
        return drive(self._queueing.heal(queues))


def queueing_of(queue: JobQueue) -> Queueing:
    """What a queue works through, for its workers.

    Raises:
        ConfigurationError: it is no `JobQueue`.
    """
    if not isinstance(queue, JobQueue):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"a worker takes a JobQueue, not {type(queue).__name__}")
    return queue._queueing  # pyright: ignore[reportPrivateUsage] - the two are one thing
