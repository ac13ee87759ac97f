"""What all writing about runs, workstreams and jobs shares: transactions, parents, the way events are added."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar, cast

from eventstate.core.expected import ANY
from eventstate.core.instants import utc_of
from eventstate.core.retrying import RetryPolicy
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import InvalidInputError, RunNotFoundError, WorkstreamNotFoundError
from eventstate.jobs.runs.names import check_name
from eventstate.jobs.runs.progress import JOB_MACHINES, RUNS, WORKSTREAMS
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot
from eventstate.machines.transacting import Options, Transacting
from eventstate.stores.base import Store
from eventstate.transactions.fencing import Fences, fences_of

T = TypeVar("T")

GOVERNOR: Final = "jobs"
PATIENT: Final = RetryPolicy(attempts=30, cap=0.25)
"""Many may report into one run at the same time."""


class Parents(NamedTuple):
    """Whose job it is, as far as that is said."""

    run_id: str | None = None
    workstream_id: str | None = None

    def check(self) -> Parents:
        """Raise an InvalidIdError for what can name nothing."""
        if self.run_id is not None:
            check_name("run id", self.run_id)
        if self.workstream_id is not None:
            check_name("workstream id", self.workstream_id)
        return self

    def besides(self, known: Parents) -> Parents:
        """Those that are not known already."""
        run_id, workstream_id = (None if one == other else one for one, other in zip(self, known, strict=True))
        return Parents(run_id, workstream_id)

    @property
    def state_ids(self) -> list[str]:
        """Of their streams."""
        ids = [] if self.run_id is None else [RUNS.state_id(self.run_id)]
        return ids if self.workstream_id is None else [*ids, WORKSTREAMS.state_id(self.workstream_id)]


class Scope:
    """One governor of one store, for what writes about its runs and jobs."""

    def __init__(self, store: Store, governor: str = GOVERNOR) -> None:
        self.store = store
        self._transacting = Transacting(
            store,
            governor,
            JOB_MACHINES,
            SnapshotPolicy(every=100, keep=2),
            guarded=(),
            retry=PATIENT,
            keep_records=False,
            retention=timedelta(days=7),
        )
        self.core = self._transacting.core
        self.governor = self.core.governor

    async def commit(self, operation: Callable[[TransactionCore], Awaitable[T]], fence: Fences) -> T:
        """Run an operation as one transaction; its result.

        Raises:
            LeaseLostError: a lock of ``fence`` is not held any more.
        """
        fences = fences_of(fence, self.governor, self.store.epoch)
        return await self._transacting.execute(operation, Options(policy=PATIENT, fences=fences))

    def now(self) -> int:
        return self.store.runtime.now()

    def new_id(self, what: str, at: int) -> str:
        """An id that nothing else has, and that says when it was made."""
        return f"{what}-{utc_of(at):%Y%m%d-%H%M%S}-{self.store.runtime.unique()}"

    async def check_parents(self, parents: Parents) -> Parents:
        """The parents, with the run of the workstream where only that is named.

        Raises:
            RunNotFoundError, WorkstreamNotFoundError: there is none.
            InvalidInputError: the workstream is another run's.
        """
        return self.checked(parents, await self.core.present(parents.state_ids))

    def checked(self, parents: Parents, found: Mapping[str, StateSnapshot[Any]]) -> Parents:
        """The same, by states that were read."""
        run_id, workstream_id = parents
        if run_id is not None and RUNS.state_id(run_id) not in found:
            raise RunNotFoundError(governor=self.governor, run_id=run_id)
        if workstream_id is None:
            return parents
        workstream = found.get(WORKSTREAMS.state_id(workstream_id))
        if workstream is None:
            raise WorkstreamNotFoundError(governor=self.governor, workstream_id=workstream_id)
        of_run = workstream.data.run_id
        if run_id is not None and of_run is not None and of_run != run_id:
            raise InvalidInputError(f"workstream {workstream_id!r} is of run {of_run!r}, not of {run_id!r}")
        return Parents(run_id or of_run, workstream_id)


async def append(transaction: TransactionCore, machine: Machine[Any, Any], id: str, event: object) -> None:
    """Add an event to a stream, whatever its version."""
    await transaction.append(machine.state_id(id), [event], expected=ANY, metadata={}, reopen=False)


def members_of(what: str, given: object) -> dict[str, Any]:
    """A copy of a mapping that the caller gave; empty for None.

    Raises:
        InvalidInputError: it is none.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidInputError(f"{what}= must be a mapping, not {type(given).__name__}")
    return dict(cast("Mapping[str, Any]", given))
