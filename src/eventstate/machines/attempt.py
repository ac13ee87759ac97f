"""One attempt of a transaction: what it has read, what it will write, and the batch that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from eventstate.core.codec import encode
from eventstate.core.documents import Batch, Committed, Key, Operation, Put
from eventstate.core.expected import ANY, AnyVersion
from eventstate.core.ids import check_id
from eventstate.core.planner import Plan, plan_appends
from eventstate.errors import (
    EventStateError,
    ScanNotSerializableError,
    TransactionEndedError,
    VersionConflictError,
)
from eventstate.log.planning import NO_METADATA, Change
from eventstate.machines.buffering import Left, StreamBuffer
from eventstate.machines.core import PersisterCore
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot
from eventstate.transactions.documents import Collections, DocumentBuffer
from eventstate.transactions.outbox import outbox_put
from eventstate.transactions.readset import ReadSet


class PendingEffect(NamedTuple):
    """An effect for the outbox, its payload as JSON text."""

    name: str
    payload: bytes
    key: str | None


class TransactionCore:
    """What both faces of a transaction work on."""

    def __init__(
        self,
        core: PersisterCore,
        collections: Collections,
        reads: ReadSet,
        *,
        token: str,
        attempt: int,
        shares_states: bool = False,
    ) -> None:
        self.token = token
        self.attempt = attempt
        self.reads = reads
        self.is_open = True
        self.own_error: EventStateError | None = None
        """An error that says no more than that the caller expected something else of what was read."""
        self.answer: Committed | None = None
        """Of its commit."""
        self._plan: Plan | None = None
        self._core = core
        self._documents = DocumentBuffer(core.store, collections, reads)
        self._streams = StreamBuffer(core, reads, shares_states=shares_states)
        self._effects: list[PendingEffect] = []
        self._besides: list[Operation] = []

    def end(self) -> None:
        """Let nothing be read or written any more."""
        self.is_open = False

    def _check_open(self) -> None:
        if not self.is_open:
            raise TransactionEndedError(transaction=self.token)

    def resolve(self, target: Machine[Any, Any] | str, id: str | None) -> str:
        self._check_open()
        return self._core.resolve(target, id)

    def split(self, target: Machine[Any, Any] | str, rest: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        self._check_open()
        return self._core.split(target, rest)

    # Documents

    async def get_document(self, collection: str, id: str) -> Any:
        self._check_open()
        return await self._documents.get(collection, id)

    async def put_document(self, collection: str, id: str, value: Any) -> None:
        self._check_open()
        await self._documents.put(collection, id, value)
        self._check_open()  # a task that nobody waited for may come here late

    async def delete_document(self, collection: str, id: str) -> None:
        self._check_open()
        await self._documents.delete(collection, id)
        self._check_open()

    async def list_documents(self, collection: str, prefix: str) -> list[tuple[str, Any]]:
        self._check_open()
        return await self._documents.list(collection, prefix)

    # States

    async def load(self, state_id: str) -> StateSnapshot[Any]:
        return await self._streams.load(state_id)

    async def find(self, state_id: str) -> StateSnapshot[Any] | None:
        return await self._streams.find(state_id)

    async def peek(self, state_id: str) -> Any:
        """The data of a state alone, None where there is none."""
        return await self._streams.peek(state_id)

    async def add(self, state_id: str, events: Sequence[object]) -> tuple[Any, int]:
        """Append to a stream as it is; its state's data and version alone. Without a keyring."""
        work = await self._streams.apply(
            self._core.change(state_id, events, expected=ANY, metadata=NO_METADATA, reopen=False)
        )
        return work.shared, work.version

    def begin_with(self, left: Left) -> None:
        """Go on from where an earlier transaction of the same caller has left a stream."""
        self._streams.begin_with(left)

    def left(self, state_id: str) -> Left | None:
        """A stream that this one has written, once it is committed; None where its new revision is not known."""
        if self.answer is None or self._plan is None:
            return None
        revision = self.answer.revisions.get(self._core.reader.key(state_id))
        return None if revision is None else self._streams.left(state_id, self._plan, revision, self.answer.at)

    def list_states(self) -> None:
        self._check_open()
        raise ScanNotSerializableError(what="states")

    async def append(
        self,
        state_id: str,
        events: Sequence[object],
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        reopen: bool,
    ) -> StateSnapshot[Any]:
        change = self._core.change(state_id, events, expected=expected, metadata=metadata, reopen=reopen)
        return await self._changed(change)

    async def execute(
        self, state_id: str, decide: Callable[..., Any], args: Sequence[object], *, metadata: Mapping[str, Any]
    ) -> StateSnapshot[Any]:
        return await self._changed(self._core.decided(state_id, decide, args, metadata))

    async def save(
        self,
        state_id: str,
        action: str,
        data: Any,
        *,
        expected: int | StateSnapshot[Any] | AnyVersion,
        metadata: Mapping[str, Any],
        must_exist: bool,
        reopen: bool,
    ) -> StateSnapshot[Any]:
        text = self._core.fold_of(state_id).bare.dump(data)
        change = self._core.recorded(
            state_id, action, text, expected=expected, metadata=metadata, must_exist=must_exist, reopen=reopen
        )
        return await self._changed(change)

    async def delete(self, state_id: str, metadata: Mapping[str, Any]) -> int:
        return (await self._changed(self._core.deleted(state_id, ANY, metadata))).version

    async def _changed(self, change: Change) -> StateSnapshot[Any]:
        try:
            protection = self._core.protection
            if protection is None:
                state = await self._streams.change(change)
            else:
                state = await protection.with_keys(lambda: self._streams.change(change))
        except VersionConflictError as error:
            self.own_error = error
            raise
        self._check_open()  # a task that nobody waited for may come here late
        return state

    # What the library itself adds

    def besides(self, *operations: Operation) -> None:
        """Have the commit do this too: documents of other kinds, which no transaction reads."""
        self._check_open()
        self._besides += operations

    # Effects

    def on_commit(self, name: str, payload: Any, key: str | None) -> None:
        self._check_open()
        check_id("effect", name)
        if key is not None:
            check_id("effect key", key)
        self._effects.append(PendingEffect(name, encode(payload, "$.payload"), key))

    # The commit

    @property
    def has_writes(self) -> bool:
        return bool(self._documents.written or self._streams.written or self._effects or self._besides)

    @property
    def written_keys(self) -> set[Key]:
        return {*self._documents.written, *(work.tip.key for work in self._streams.written)}

    @property
    def has_events(self) -> bool:
        return bool(self._streams.written)

    def batch(self, extra: Sequence[Operation]) -> Batch:
        """Everything in one: what is written, and that the rest is as it was read."""
        token, core = self.token, self._core
        written = [*self._documents.operations(token), *self._outbox(), *self._besides, *extra]
        plan = plan_appends(
            self._streams.appends(),
            token=token,
            now=core.store.runtime.now(),
            node=core.store.node,
            extra=written,
        )
        self._plan = plan
        batch = plan.batch
        keys = {operation.key for operation in batch.operations}
        return Batch(token, (*batch.operations, *self.reads.checks(keys)))

    def _outbox(self) -> list[Put]:
        return [
            outbox_put(
                self._core.governor,
                self.token,
                index,
                effect.name,
                effect.payload,
                effect.key or f"{self.token}:{index}",
            )
            for index, effect in enumerate(self._effects)
        ]

    def difference(self, other: TransactionCore) -> str | None:
        """In what another run of the same operation did something else, or None."""
        mine, theirs = self._done(), other._done()
        for what in sorted(mine.keys() | theirs.keys()):
            if mine.get(what) != theirs.get(what):
                return f"{what} was not the same"
        return None

    def _done(self) -> dict[str, object]:
        return {
            **{str(key): text for key, text in self._documents.written.items()},
            **{str(work.tip.key): work.shown for work in self._streams.written},
            **{f"effect {number}": effect for number, effect in enumerate(self._effects, 1)},
        }
