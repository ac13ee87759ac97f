"""Looking back and branching off: differences, forks, and today's code held against what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from eventstate.core.metadata import stored_metadata
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import ConfigurationError
from eventstate.log.replaying import ReplayChecker, ReplayReport
from eventstate.machines.comparing import Place, StateDiff, compare
from eventstate.machines.core import PersisterCore
from eventstate.machines.forking import Fork, Forking, Origin
from eventstate.machines.keyring import Keyring
from eventstate.machines.machine import Machine
from eventstate.machines.past import HistoryPlace, Transition
from eventstate.machines.states import StateSnapshot
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store
from eventstate.transactions.fencing import Fences


class TimeTravel:
    """Compares states of any time, forks streams, and replays what was recorded with today's code.

    Safe to use from many threads. Takes what a `StateMachinePersister` takes, and names states as it does.

    All methods raise `StoreError` and its kin where the store can't work, `InvalidInputError` for
    arguments that can't be used, and `CorruptionError` where stored bytes are not what was written.
    """

    def __init__(
        self,
        store: Store,
        *,
        governor: str = "default",
        machines: Iterable[Machine[Any, Any]] = (),
        snapshot_every: int = 100,
        keep_snapshots: int = 5,
        keyring: Keyring | None = None,
        archive: Archive | None = None,
    ) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncTimeTravel with it")
        policy = SnapshotPolicy(every=snapshot_every, keep=keep_snapshots)
        keys = keyring.core if keyring is not None else None
        self._core = PersisterCore(store, governor, machines, policy, keys, archive)
        self._forking = Forking(self._core)

    def diff(self, a: Place, b: Place) -> StateDiff:
        """How state ``b`` differs from state ``a``: two versions or times of one stream, or two streams.

        ``diff(At(orders, "42", version=3), At(orders, "42"))``. A state that was loaded, or the id of a current
        one, will do too. Compared is the JSON that states are stored as.

        Raises:
            StateNotFoundError, StateDeletedError, VersionNotFoundError: one of them does not exist.
        """
        return drive(compare(self._core, a, b))

    def fork(
        self,
        target: Machine[Any, Any] | str,
        id: str | None = None,
        *,
        to: str,
        at_version: int | None = None,
        at_time: datetime | None = None,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
    ) -> StateSnapshot[Any]:
        """Begin a new stream with the state of another one, as it is or as it was, and return its state.

        The new stream is at version 1: one event, ``$forked``, with the parent's state, its id and the version. The
        parent is not touched; a pin asks retention to keep its history up to there.

        Args:
            to: the new id, named as the parent is: ``fork(orders, "42", to="43")`` or
                ``fork("order-42", to="order-43")``.
            at_version, at_time: of the parent; its current state unless given.
            idempotency_key: names this command for good; the same call again returns the fork as it began.
            fence, changed_by and others: see `StateMachinePersister.append`.

        Raises:
            StateNotFoundError, StateDeletedError, VersionNotFoundError: the parent has no such state.
            VersionConflictError: a stream of the new id exists already; nothing was written.
            LeaseLostError: the lock given as ``fence`` is not held any more; nothing was written.
            IdempotencyMismatchError: the key was used for something else.
            CommitUnknownError: the store did not answer; settle it with the key or the token.
        """
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        core = self._core
        return drive(
            self._forking.fork(
                core.resolve(target, id),
                core.resolve(*((to, None) if id is None else (target, to))),
                at_version=at_version,
                at_time=at_time,
                metadata=metadata,
                idempotency_key=idempotency_key,
                fence=fence,
            )
        )

    def lineage(self, target: Machine[Any, Any] | str, id: str | None = None) -> list[Origin]:
        """The streams that a stream was forked from, its parent first; empty for one that is no fork.

        Raises:
            StateNotFoundError: it never existed.
            CorruptionError: the first entry of one of them is not what was written.
        """
        return drive(self._forking.lineage(self._core.resolve(target, id)))

    def forks(self, target: Machine[Any, Any] | str | None = None, id: str | None = None) -> Iterator[Fork]:
        """The forks of a stream whose pins are not released, or those of all streams, in id order."""
        parent = None if target is None else self._core.resolve(target, id)
        after: str | None = ""
        while after is not None:
            forks, after = drive(self._forking.forks_page(parent, after))
            yield from forks

    def release_fork(self, target: Machine[Any, Any] | str, id: str | None = None) -> bool:
        """Let retention prune the parent's history that a fork has pinned; False if nothing was pinned.

        The fork goes on as before. Only what happened before it may be gone one day.
        """
        return drive(self._forking.release(self._core.resolve(target, id)))

    def history(self, target: Machine[Any, Any] | str, id: str | None = None) -> Iterator[Transition]:
        """The history of a stream and, before it, that of the streams it was forked from, a page at a time.

        ``state_id`` of each transition says whose it is. What is pruned is left out.

        Raises:
            StateNotFoundError: it never existed.
        """
        for section in drive(self._forking.sections(self._core.resolve(target, id))):
            place: HistoryPlace | None = None
            while True:
                transitions, place = drive(self._forking.history_page(section, place))
                yield from transitions
                if place is None:
                    break

    def replay_check(
        self,
        *,
        prefix: str = "",
        resume: ReplayReport | None = None,
        judge_transitions: bool = False,
        keep: int = 1000,
        progress: Callable[[ReplayReport], None] | None = None,
    ) -> ReplayReport:
        """Fold every recorded history with today's machines, and report where it comes out differently.

        Compared are the states that were recorded: those of heads and snapshots, and of events that carry data and
        a state. So of a typed stream each snapshot and the newest state are compared, not every version between;
        an event that ``evolve`` or an upcaster can't take any more is named in any case. Nothing is written.

        Args:
            prefix: state ids that begin so, such as ``order-``.
            resume: the report of a run that was not finished; this one goes on with it.
            judge_transitions: hold each event against today's declared transitions too.
            keep: at most so many divergences are kept in the report; all are counted.
            progress: called with the report so far after each page of streams.
        """
        report = resume or ReplayReport(keep=keep)
        checker = ReplayChecker(
            self._core.store, self._core.governor, self._core.fold_of, judge_transitions=judge_transitions
        )
        while not report.is_finished:
            drive(checker.page(report, prefix=prefix))
            if progress is not None:
                progress(report)
        return report
