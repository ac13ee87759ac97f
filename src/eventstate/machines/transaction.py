"""The sync face of a transaction: what an operation reads and writes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, overload

from eventstate.core.expected import ANY, AnyVersion
from eventstate.core.metadata import stored_metadata
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot
from eventstate.runtime.blocking import drive

S = TypeVar("S")


class Transaction:
    """What an operation reads and writes through; handed to it by `TransactionManager.execute_transaction`.

    All that is read is as it was at one time, and all that is written is written at its end, in one commit that is
    refused if anything read has changed. Own writes are seen by later reads. Methods that name a state take
    ``(machine, id)``, ``(machine name, id)`` or the full state id alone.
    """

    def __init__(self, core: TransactionCore) -> None:
        self._core = core

    @property
    def id(self) -> str:
        """Of this attempt: the transaction id once it has committed."""
        return self._core.token

    @property
    def attempt(self) -> int:
        """1 for the first run of the operation, 2 for the second, and so on."""
        return self._core.attempt

    def get_document(self, collection: str, id: str) -> Any:
        """The JSON value of a document, the caller's own copy; None where there is none."""
        return drive(self._core.get_document(collection, id))

    def put_document(self, collection: str, id: str, value: Any) -> None:
        """Write a document, any JSON value. One that was not read before is overwritten, whatever it is then."""
        drive(self._core.put_document(collection, id, value))

    def delete_document(self, collection: str, id: str) -> None:
        """Delete a document, if there is one."""
        drive(self._core.delete_document(collection, id))

    def list_documents(self, collection: str, *, prefix: str = "") -> list[tuple[str, Any]]:
        """Ids and values of all documents of a guarded collection, by id.

        Raises:
            ScanNotSerializableError: the collection is not in the manager's ``guarded``.
        """
        return drive(self._core.list_documents(collection, prefix))

    @overload
    def load(self, target: Machine[S, Any], id: str) -> StateSnapshot[S]: ...
    @overload
    def load(self, target: str, id: str | None = None) -> StateSnapshot[Any]: ...
    def load(self, target: Machine[Any, Any] | str, id: str | None = None) -> StateSnapshot[Any]:
        """The state, with the transaction's own events; its timestamp is that of the last stored one.

        Raises:
            StateNotFoundError, StateDeletedError: it does not exist (any more). That is part of what was read.
        """
        return drive(self._core.load(self._core.resolve(target, id)))

    @overload
    def find(self, target: Machine[S, Any], id: str) -> StateSnapshot[S] | None: ...
    @overload
    def find(self, target: str, id: str | None = None) -> StateSnapshot[Any] | None: ...
    def find(self, target: Machine[Any, Any] | str, id: str | None = None) -> StateSnapshot[Any] | None:
        """The state as `load`, or None where it does not exist or is deleted."""
        return drive(self._core.find(self._core.resolve(target, id)))

    def list_states(self) -> None:
        """Not possible in a transaction: others could add to the list unseen.

        Raises:
            ScanNotSerializableError: always.
        """
        self._core.list_states()

    @overload
    def append(
        self,
        target: Machine[S, Any],
        id: str,
        /,
        *events: Any,
        expected: int | StateSnapshot[Any] | AnyVersion = ANY,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        reopen: bool = False,
    ) -> StateSnapshot[S]: ...
    @overload
    def append(
        self,
        target: str,
        /,
        *events: Any,
        expected: int | StateSnapshot[Any] | AnyVersion = ANY,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        reopen: bool = False,
    ) -> StateSnapshot[Any]: ...
    def append(
        self,
        target: Machine[Any, Any] | str,
        /,
        *events: Any,
        expected: int | StateSnapshot[Any] | AnyVersion = ANY,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        reopen: bool = False,
    ) -> StateSnapshot[Any]:
        """Append events to a stream, and return the state they lead to.

        The version it has in this transaction is always guarded; ``expected`` is for saying that it must be a certain
        one. The other arguments are those of `StateMachinePersister.append`.

        Raises:
            VersionConflictError: the stream is not at the expected version.
            IllegalTransitionError, StateDeletedError, UnknownEventError, EncodingError: see their texts.
        """
        state_id, rest = self._core.split(target, events)
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return drive(self._core.append(state_id, rest, expected=expected, metadata=metadata, reopen=reopen))

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
    ) -> StateSnapshot[Any]:
        """Let ``decide(state, *args)`` name events for a state and append them; raises like `append`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return drive(self._core.execute(self._core.resolve(target, id), decide, args, metadata=metadata))

    def save_state(
        self,
        state_id: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion = ANY,
        action: str = "saved",
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        reopen: bool = False,
    ) -> StateSnapshot[Any]:
        """Save a whole state; raises like `append`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return drive(
            self._core.save(
                self._core.resolve(state_id, None),
                action,
                data,
                expected=expected,
                metadata=metadata,
                must_exist=False,
                reopen=reopen,
            )
        )

    def update_state(
        self,
        state_id: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion = ANY,
        action: str = "updated",
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
    ) -> StateSnapshot[Any]:
        """Replace a state that exists; raises like `append`.

        Raises:
            StateNotFoundError: it does not exist.
        """
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return drive(
            self._core.save(
                self._core.resolve(state_id, None),
                action,
                data,
                expected=expected,
                metadata=metadata,
                must_exist=True,
                reopen=False,
            )
        )

    def delete_state(
        self,
        target: Machine[Any, Any] | str,
        id: str | None = None,
        *,
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
    ) -> int:
        """Delete a state and return its version; deleting a deleted one changes nothing.

        Raises:
            StateNotFoundError: it never existed.
        """
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, None)
        return drive(self._core.delete(self._core.resolve(target, id), metadata))

    def on_commit(self, effect: str, payload: Any = None, *, key: str | None = None) -> None:
        """Have something done once this has committed, and only then: a mail, a payment, a call.

        The effect is written with the commit. A dispatcher hands it to the handler of its name, at least once, each
        time with the same key, by which the receiver can tell a repetition.

        Args:
            effect: the name that its handler has in the dispatcher.
            payload: plain JSON data for the handler.
            key: the idempotency key; by default one made from the transaction's id.
        """
        self._core.on_commit(effect, payload, key)
