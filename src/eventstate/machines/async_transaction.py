"""The asyncio face of a transaction: the methods of `Transaction`, awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar, overload

from eventstate.core.expected import ANY, AnyVersion
from eventstate.core.metadata import stored_metadata
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot

S = TypeVar("S")


class AsyncTransaction:
    """`Transaction` for asyncio; handed to the operation of an `AsyncTransactionManager`."""

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

    async def get_document(self, collection: str, id: str) -> Any:
        """As `Transaction.get_document`."""
        return await self._core.get_document(collection, id)

    async def put_document(self, collection: str, id: str, value: Any) -> None:
        """As `Transaction.put_document`."""
        await self._core.put_document(collection, id, value)

    async def delete_document(self, collection: str, id: str) -> None:
        """As `Transaction.delete_document`."""
        await self._core.delete_document(collection, id)

    async def list_documents(self, collection: str, *, prefix: str = "") -> list[tuple[str, Any]]:
        """As `Transaction.list_documents`."""
        return await self._core.list_documents(collection, prefix)

    @overload
    async def load(self, target: Machine[S, Any], id: str) -> StateSnapshot[S]: ...
    @overload
    async def load(self, target: str, id: str | None = None) -> StateSnapshot[Any]: ...
    async def load(self, target: Machine[Any, Any] | str, id: str | None = None) -> StateSnapshot[Any]:
        """As `Transaction.load`."""
        return await self._core.load(self._core.resolve(target, id))

    @overload
    async def find(self, target: Machine[S, Any], id: str) -> StateSnapshot[S] | None: ...
    @overload
    async def find(self, target: str, id: str | None = None) -> StateSnapshot[Any] | None: ...
    async def find(self, target: Machine[Any, Any] | str, id: str | None = None) -> StateSnapshot[Any] | None:
        """As `Transaction.find`."""
        return await self._core.find(self._core.resolve(target, id))

    async def list_states(self) -> None:
        """As `Transaction.list_states`."""
        self._core.list_states()

    @overload
    async def append(
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
    async def append(
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
    async def append(
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
        """As `Transaction.append`."""
        state_id, rest = self._core.split(target, events)
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return await self._core.append(state_id, rest, expected=expected, metadata=metadata, reopen=reopen)

    @overload
    async def execute(
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
    async def execute(
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
    async def execute(
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
        """As `Transaction.execute`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return await self._core.execute(self._core.resolve(target, id), decide, args, metadata=metadata)

    async def save_state(
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
        """As `Transaction.save_state`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return await self._core.save(
            self._core.resolve(state_id, None),
            action,
            data,
            expected=expected,
            metadata=metadata,
            must_exist=False,
            reopen=reopen,
        )

    async def update_state(
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
        """As `Transaction.update_state`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, occurred_at)
        return await self._core.save(
            self._core.resolve(state_id, None),
            action,
            data,
            expected=expected,
            metadata=metadata,
            must_exist=True,
            reopen=False,
        )

    async def delete_state(
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
        """As `Transaction.delete_state`."""
        metadata = stored_metadata(changed_by, reason, context, correlation_id, causation_id, None)
        return await self._core.delete(self._core.resolve(target, id), metadata)

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
