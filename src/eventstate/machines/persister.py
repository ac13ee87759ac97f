"""The sync face of the persister."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from eventstate.core.expected import AnyVersion
from eventstate.core.metadata import stored_metadata
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import ConfigurationError
from eventstate.machines.core import PersisterCore
from eventstate.machines.machine import Machine
from eventstate.machines.states import StatePage, StateSnapshot
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store
from eventstate.transactions.fencing import Fences

if TYPE_CHECKING:
    from eventstate.log.sealing.files import SealFile
    from eventstate.log.verify import ConsistencyReport
    from eventstate.machines.keyring import Keyring
    from eventstate.machines.past import HistoryPlace, Transition
    from eventstate.machines.reports import RecoveredState, RecoveryReport, StoreStats
    from eventstate.machines.together import AppendTo
    from eventstate.stores.archive import Archive

S = TypeVar("S")


class StateMachinePersister:
    """Keeps the machines of one governor in a store, and gives back every state at every version.

    Safe to use from many threads. Methods that name a state take ``(machine, id)``, ``(machine name, id)``
    or the full state id alone.

    Args:
        store: from `open_store`.
        governor: the namespace that owns the machines, such as a service or a tenant.
        machines: the declared machines; a stream without one holds states recorded as plain data.
        snapshot_every: a snapshot each time a version passes a multiple of it; 0 for none.
        keep_snapshots: how many of a stream's snapshots remain.
        keyring: the keys for machines that declare ``subjects``; needed with them.
        archive: where a `RetentionManager` has put pruned events: older versions are read from it.

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
            raise ConfigurationError("a store of open_async_store: use AsyncStateMachinePersister with it")
        policy = SnapshotPolicy(every=snapshot_every, keep=keep_snapshots)
        keys = keyring.core if keyring is not None else None
        self._core = PersisterCore(store, governor, machines, policy, keys, archive)

    @property
    def governor(self) -> str:
        """The governor it is bound to."""
        return self._core.governor

    @property
    def store(self) -> Store:
        """The store it works on."""
        return self._core.store

    @overload
    def append(
        self,
        target: Machine[S, Any],
        id: str,
        /,
        *events: Any,
        expected: int | StateSnapshot[Any] | AnyVersion,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
        reopen: bool = False,
    ) -> StateSnapshot[S]: ...
    @overload
    def append(
        self,
        target: str,
        /,
        *events: Any,
        expected: int | StateSnapshot[Any] | AnyVersion,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
        reopen: bool = False,
    ) -> StateSnapshot[Any]: ...
    def append(
        self,
        target: Machine[Any, Any] | str,
        /,
        *events: Any,
        expected: int | StateSnapshot[Any] | AnyVersion,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
        reopen: bool = False,
    ) -> StateSnapshot[Any]:
        """Append events to one stream, all in one commit, and return the state they lead to.

        ``append(orders, "42", Placed(), expected=0)`` or ``append("order-42", Placed(), expected=0)``.

        Args:
            expected: the version the stream must have: a number (0: it must not exist), a loaded state, or ANY.
            idempotency_key: names this command for good; the same call again returns the first one's result.
            fence: a lock, or several, that must still be held when this is committed.
            reopen: begin a new incarnation if the stream was deleted.
            changed_by, reason, context, correlation_id, causation_id, occurred_at: see `ChangeMetadata`.

        Raises:
            VersionConflictError: the stream is at another version; nothing was written.
            IllegalTransitionError: the machine's declaration forbids it; nothing was written.
            StateDeletedError: it was deleted.
            LeaseLostError: the lock given as ``fence`` is not held any more; nothing was written.
            UnknownEventError, EncodingError, DocumentTooLargeError: see their texts; nothing was written.
            IdempotencyMismatchError: the key was used for something else.
            TransactionConflictError: with ANY, others were faster every time.
            CommitUnknownError: the store did not answer; settle it with the key or the token.
        """
        core = self._core
        state_id, rest = core.split(target, events)
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return drive(
            core.append(
                state_id,
                rest,
                expected=expected,
                metadata=metadata,
                idempotency_key=idempotency_key,
                fence=fence,
                reopen=reopen,
            )
        )

    def append_together(
        self,
        *appends: AppendTo,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
    ) -> list[StateSnapshot[Any]]:
        """Append to several streams in one commit: all of them or none. Raises like `append`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return drive(
            self._core.append_together(appends, metadata=metadata, idempotency_key=idempotency_key, fence=fence)
        )

    @overload
    def execute(
        self,
        target: Machine[S, Any],
        id: str,
        decide: Callable[..., Any],
        /,
        *args: Any,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
    ) -> StateSnapshot[S]: ...
    @overload
    def execute(
        self,
        target: str,
        id: str,
        decide: Callable[..., Any],
        /,
        *args: Any,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
    ) -> StateSnapshot[Any]: ...
    def execute(
        self,
        target: Machine[Any, Any] | str,
        id: str,
        decide: Callable[..., Any],
        /,
        *args: Any,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
    ) -> StateSnapshot[Any]:
        """Load, let ``decide(state, *args)`` name events, append them; again if someone was faster.

        ``decide`` returns an event, a list of them, or None for nothing to do. It may run several times and
        must have no side effects. Its exceptions pass unchanged, with nothing written. A repeated
        ``idempotency_key`` is recognised by the name of ``decide`` and its arguments; a call that named no
        event leaves no record.

        Raises:
            IllegalTransitionError, UnknownEventError, EncodingError, DocumentTooLargeError: nothing was written.
            TransactionConflictError: others were faster 20 times.
            CommitUnknownError: the store did not answer; repeat with the same ``idempotency_key``.
        """
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        core = self._core
        return drive(
            core.execute(
                core.resolve(target, id), decide, args, metadata=metadata, idempotency_key=idempotency_key, fence=fence
            )
        )

    def log_transition(
        self,
        from_state: StateSnapshot[Any] | None,
        to_state: StateSnapshot[Any],
        action: str,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion | None = None,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
    ) -> StateSnapshot[Any]:
        """Record a transition between two states that no ``evolve`` explains; the difference is stored.

        ``to_state`` says the id and the new data; ``expected`` is ``from_state.version`` (0 for None) unless given.
        Raises like `append`.
        """
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return drive(
            self._core.log_transition(
                from_state,
                to_state,
                action,
                expected=expected,
                metadata=metadata,
                idempotency_key=idempotency_key,
                fence=fence,
            )
        )

    def save_state(
        self,
        state_id: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        action: str = "saved",
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
        reopen: bool = False,
    ) -> StateSnapshot[Any]:
        """Save a whole state; it is also an event appended, in the same commit. Raises like `append`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        core = self._core
        return drive(
            core.record(
                core.resolve(state_id, None),
                action,
                data,
                expected=expected,
                metadata=metadata,
                idempotency_key=idempotency_key,
                fence=fence,
                reopen=reopen,
            )
        )

    def update_state(
        self,
        state_id: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        action: str = "updated",
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        idempotency_key: str | None = None,
        fence: Fences = None,
    ) -> StateSnapshot[Any]:
        """Replace a state that exists.

        Raises:
            StateNotFoundError: it does not exist (with ``expected=0`` it is made instead).
            VersionConflictError and others: as `append`.
        """
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        core = self._core
        return drive(
            core.update(
                core.resolve(state_id, None),
                action,
                data,
                expected=expected,
                metadata=metadata,
                idempotency_key=idempotency_key,
                fence=fence,
            )
        )

    def delete_state(
        self,
        target: Machine[Any, Any] | str,
        id: str | None = None,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        fence: Fences = None,
    ) -> int:
        """Delete a state and return its version: a tombstone is appended, the history stays.

        Deleting a deleted state changes nothing.

        Raises:
            StateNotFoundError: it never existed.
            VersionConflictError: it is at another version.
        """
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, None)
        core = self._core
        return drive(core.delete(core.resolve(target, id), expected=expected, metadata=metadata, fence=fence))

    @overload
    def load(
        self,
        target: Machine[S, Any],
        id: str,
        *,
        at_version: int | None = None,
        at_time: datetime | None = None,
    ) -> StateSnapshot[S]: ...
    @overload
    def load(
        self,
        target: str,
        id: str | None = None,
        *,
        at_version: int | None = None,
        at_time: datetime | None = None,
    ) -> StateSnapshot[Any]: ...
    def load(
        self,
        target: Machine[Any, Any] | str,
        id: str | None = None,
        *,
        at_version: int | None = None,
        at_time: datetime | None = None,
    ) -> StateSnapshot[Any]:
        """The current state, or the one at a version or time.

        A time is compared with when events occurred (or were recorded, where they do not say): the state
        is that of the last version, in stream order, that had happened by then.

        Raises:
            StateNotFoundError, StateDeletedError: it does not exist (any more).
            VersionNotFoundError: not at this version or time.
            CorruptionError: neither head nor log give it.
        """
        core = self._core
        return drive(core.load(core.resolve(target, id), at_version=at_version, at_time=at_time))

    def get_state(self, state_id: str) -> StateSnapshot[Any]:
        """The current state; as `load`."""
        return drive(self._core.load(self._core.resolve(state_id, None)))

    def get_state_at_time(self, state_id: str, at: datetime) -> StateSnapshot[Any]:
        """The state at a time; as `load`."""
        return drive(self._core.load(self._core.resolve(state_id, None), at_time=at))

    def states_at(self, at: datetime) -> Iterator[StateSnapshot[Any]]:
        """Every state of the governor as it was at a time, in id order, a page at a time."""
        after: str | None = ""
        while after is not None:
            page = drive(self._core.past.states_page_at(at, after, 100))
            yield from page.states
            after = page.next

    def exists(self, target: Machine[Any, Any] | str, id: str | None = None) -> bool:
        """Whether the state exists and is not deleted."""
        return drive(self._core.exists(self._core.resolve(target, id)))

    def batch_get_states(self, state_ids: Sequence[str]) -> dict[str, StateSnapshot[Any] | None]:
        """The current states by id, None for those that do not exist. Not one snapshot across ids."""
        return drive(self._core.batch_get([self._core.resolve(id, None) for id in state_ids]))

    def list_states(
        self,
        *,
        prefix: str = "",
        machine: str | None = None,
        state: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> StatePage:
        """Some of the states that exist, in id order.

        Args:
            prefix: ids that begin so.
            machine: of this machine's name.
            state: in this declared state; for streams without a machine, whose last action this is.
            after: the ``next`` of the page before.
            limit: at most so many.
        """
        return drive(self._core.list_page(prefix=prefix, machine=machine, state=state, after=after, limit=limit))

    def list_governors(self) -> list[str]:
        """The governors of the store, in order."""
        return drive(self._core.governors())

    def history(
        self,
        target: Machine[Any, Any] | str,
        id: str | None = None,
        *,
        from_version: int = 1,
        to_version: int | None = None,
    ) -> Iterator[Transition]:
        """The events of a stream in order, each with the states before and after, a page at a time.

        Raises:
            StateNotFoundError: it never existed.
            CorruptionError: an event is not what was written.
        """
        state_id = self._core.resolve(target, id)
        place: HistoryPlace | None = None
        while True:
            transitions, place = drive(self._core.past.history_page(state_id, from_version, to_version, resume=place))
            yield from transitions
            if place is None:
                return

    def get_events(self, start: datetime, end: datetime, *, prefix: str = "") -> list[Transition]:
        """The governor's events that happened from ``start`` to ``end``, both included, by time, id and version."""
        return drive(self._core.past.events_between(start, end, prefix))

    def create_snapshot(self, target: Machine[Any, Any] | str, id: str | None = None) -> int:
        """Keep the current state as a snapshot and return its version.

        Raises:
            StateNotFoundError, StateDeletedError: it does not exist.
        """
        return drive(self._core.upkeep.create_snapshot(self._core.resolve(target, id)))

    def load_snapshot(
        self, target: Machine[Any, Any] | str, id: str | None = None, *, at_version: int | None = None
    ) -> StateSnapshot[Any] | None:
        """The newest good snapshot, at or below a version if given; None where there is none."""
        return drive(self._core.upkeep.load_snapshot(self._core.resolve(target, id), at_version))

    def rebuild(
        self, target: Machine[Any, Any] | str, id: str | None = None, *, full: bool = False
    ) -> StateSnapshot[Any]:
        """Replay the log (from a snapshot, or all of it) and write the head anew where it does not agree.

        Raises:
            CorruptionError: an entry on the way is corrupt.
        """
        return drive(self._core.upkeep.rebuild(self._core.resolve(target, id), full=full))

    def recover(self) -> Iterator[RecoveredState]:
        """Every stream of the governor, from one scan of the heads, in constant memory: for start-up.

        Bad heads are rebuilt from the log and written anew; what can't be rebuilt is given as ``lost``.
        """
        after: str | None = ""
        while after is not None:
            items, after = drive(self._core.upkeep.recover_page(after))
            yield from items

    def recover_all(self) -> RecoveryReport:
        """Run `recover` to its end and return the totals."""
        from eventstate.machines.reports import RecoveryReport  # for a check at start-up, not for each program

        report = RecoveryReport()
        for item in self.recover():
            report.count(item)
        return report

    def validate_consistency(
        self,
        *,
        progress: Callable[[ConsistencyReport], None] | None = None,
        seal: SealFile | None = None,
        resume: ConsistencyReport | None = None,
    ) -> ConsistencyReport:
        """Verify every stream: chains, heads, snapshots, states against their replays, and all against a seal.

        Args:
            progress: called with the report so far after each page of streams.
            seal: an exported seal that the streams must be what it saw, and more; the newest one in the store if
                none is given.
            resume: the report of an earlier run that was broken off, to go on from; it stays as it is.

        Raises:
            InvalidInputError: the seal is that of another governor.
        """
        run = self._core.upkeep.verification(seal, resume)
        more = True
        while more:
            more = drive(run.page())
            if progress is not None:
                progress(run.report)
        return run.report

    def get_stats(self) -> StoreStats:
        """Numbers of the governor, from one scan of its heads."""
        return drive(self._core.upkeep.stats())

    def settle(self, token: str) -> bool:
        """Whether the commit of a `CommitUnknownError`'s token is applied; if not, it never will be.

        Raises:
            CommitUnknownError: the store did not answer; ask again.
            TokenExpiredError: what would prove it is pruned.
        """
        return drive(self._core.settle(token))
