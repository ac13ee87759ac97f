"""Running transactions: attempts, their commit, what is left of them in the log. Written once for both managers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

import orjson

from eventstate.core.codec import encode
from eventstate.core.documents import Batch, Committed, Key, Operation, Put, Refused, Require
from eventstate.core.leases import Fence
from eventstate.core.retrying import RETRIED, RetryPolicy, fate_of
from eventstate.core.settlement import TokenRef
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import (
    CommitUnknownError,
    EncodingError,
    EventStateError,
    InvalidInputError,
    NestedTransactionError,
    NotRepeatableError,
    TransactionConflictError,
)
from eventstate.log.commands import checked_key
from eventstate.log.keyring import KeyringCore
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.core import PersisterCore
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot
from eventstate.stores.base import Store
from eventstate.transactions.documents import Collections
from eventstate.transactions.fencing import Fences, check_fences, fences_of
from eventstate.transactions.readset import ReadSet
from eventstate.transactions.records import (
    RecordKeeper,
    TransactionStatus,
    encode_record,
    new_transaction_id,
)
from eventstate.transactions.retry import retried
from eventstate.transactions.turns import Turn, Turns

States = Mapping[str, StateSnapshot[Any] | None]
NewStates = Mapping[str, Any] | Callable[[States], Mapping[str, Any]]

Call = Callable[[TransactionCore], Awaitable[Any]]

MAX_RESULT_BYTES = 4096
"""A longer result is not kept for those who ask again."""

_running: ContextVar[TransactionCore | None] = ContextVar("eventstate_transaction", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one transaction is to run; see `TransactionManager.execute_transaction`."""

    policy: RetryPolicy
    idempotency_key: str | None = None
    fingerprint: bytes = b""
    fences: Sequence[Fence] = ()
    check_repeatable: bool = False


class _End(NamedTuple):
    """How an operation ended: with a result, or an error of its own that no retry would change."""

    result: Any
    error: Exception | None = None


class Transacting:
    """The transactions of one manager.

    Args:
        shares_states: its operations change no state that they get, so that each is made once for all who ask.
    """

    def __init__(
        self,
        store: Store,
        governor: str,
        machines: Iterable[Machine[Any, Any]],
        policy: SnapshotPolicy,
        *,
        guarded: Iterable[str],
        retry: RetryPolicy,
        keep_records: bool,
        retention: timedelta,
        keyring: KeyringCore | None = None,
        shares_states: bool = False,
    ) -> None:
        self.core = PersisterCore(store, governor, machines, policy, keyring)
        store = self.core.store
        self.collections = Collections(self.core.governor, guarded)
        self.committer = self.core.appender.committer
        self.records = RecordKeeper(store, self.core.governor, self.committer, retention)
        self._retry = retry
        self._keeps_records = keep_records
        self._shares_states = shares_states
        self._turns = Turns(store.runtime)

    def options(
        self,
        operation: Callable[..., Any],
        args: Sequence[object],
        *,
        retry: RetryPolicy | None,
        idempotency_key: str | None,
        fence: Fences,
        check_repeatable: bool,
    ) -> Options:
        key = checked_key(idempotency_key)
        return Options(
            policy=retry or self._retry,
            idempotency_key=key,
            fingerprint=b"" if key is None else self.core.call_fingerprint("transaction", "", operation, args),
            fences=fences_of(fence, self.core.governor, self.core.store.epoch),
            check_repeatable=check_repeatable,
        )

    async def execute(self, call: Call, options: Options, token: str | None = None) -> Any:
        outer = _running.get()
        if outer is not None and outer.is_open:
            raise NestedTransactionError(outer=outer.token)
        if token is not None:
            reference = self._reference(token)
            if await self.committer.settle(reference):
                return await _Run(self, call, options).result_of(reference.id)
            options = _resumed(options, reference)
        run = _Run(self, call, options)
        try:
            end = await retried(run.attempt, options.policy, self.core.store.runtime)
        except EventStateError as error:
            await run.record_failure(TransactionStatus.FAILED, error)
            raise
        except Exception as error:
            await run.record_failure(TransactionStatus.ROLLED_BACK, error)
            raise
        if end.error is not None:
            await run.record_failure(TransactionStatus.ROLLED_BACK, end.error)
            raise end.error
        await self.records.sweep_if_due()
        return end.result

    def _reference(self, token: str) -> TokenRef:
        reference = TokenRef.parse(token)
        if reference.owner != self.core.governor:
            raise InvalidInputError(f"token= is of governor {reference.owner!r}, not of {self.core.governor!r}")
        return reference

    def read_set(self, turn: Turn) -> ReadSet:
        return ReadSet(self.core.store, turn)

    def turn(self) -> Turn:
        return self._turns.turn()

    def transaction(self, reads: ReadSet, token: str, attempt: int) -> TransactionCore:
        return TransactionCore(
            self.core, self.collections, reads, token=token, attempt=attempt, shares_states=self._shares_states
        )

    @property
    def keeps_records(self) -> bool:
        return self._keeps_records


class _Run:
    """One call of execute: its attempts."""

    def __init__(self, transacting: Transacting, call: Call, options: Options) -> None:
        self._transacting = transacting
        self._core = transacting.core
        self._runtime = transacting.core.store.runtime
        self._call = call
        self._options = options
        self._started = self._runtime.now()
        self._attempts = 0
        self._collided: frozenset[Key] = frozenset()
        self._last: TransactionCore | None = None

    async def attempt(self, number: int) -> _End:
        """Run the operation once and commit what it did.

        Raises:
            EventStateError: of a kind that a retry may change, or that has to do with the commit.
        """
        self._attempts = number
        turn = self._transacting.turn()
        try:
            await turn.begin(number, self._collided)
            return await self._attempt(number, turn)
        finally:
            turn.end()

    async def _attempt(self, number: int, turn: Turn) -> _End:
        token = new_transaction_id(self._runtime.now(), self._runtime.unique())
        transaction = self._transacting.transaction(self._transacting.read_set(turn), token, number)
        self._last = transaction
        unforgotten = await self._core.appender.commands.check_fresh(self._options.idempotency_key)
        if number == 1:
            earlier = await self._earlier()
            if earlier is not None:
                return earlier
        try:
            result = await self._called(transaction)
        except Exception as error:  # noqa: BLE001 - judged, and raised again unless it came from reads that were torn
            return await self._judge(transaction, error)
        if self._options.check_repeatable and number == 1:
            await self._check_repeatable(transaction)
        if transaction.has_writes or self._options.idempotency_key is not None:
            return await self._commit(transaction, result, unforgotten)
        await self._confirm(transaction)
        return _End(result)

    async def _called(self, transaction: TransactionCore) -> Any:
        reset = _running.set(transaction)
        try:
            return await self._call(transaction)
        finally:
            transaction.end()
            _running.reset(reset)

    async def _judge(self, transaction: TransactionCore, error: Exception) -> _End:
        """What an error of the operation is worth: nothing, if what it had read did not hold together.

        Raises:
            TransactionConflictError: it did not.
            EventStateError: the error, where a retry may help.
        """
        if fate_of(error) in RETRIED and error is not transaction.own_error:
            raise error
        changed = await transaction.reads.changed(self._transacting.committer)
        if changed:
            raise self._conflict(transaction, changed) from error
        earlier = await self._earlier()
        return earlier or _End(None, error)

    async def _confirm(self, transaction: TransactionCore) -> None:
        """For a transaction that only read: that all of it held at one time, under its locks.

        Raises:
            TransactionConflictError: it did not.
            LeaseLostError: a lock was not held any more.
        """
        fences = self._options.fences
        if not fences:
            changed = await transaction.reads.changed(self._transacting.committer)
            if changed:
                raise self._conflict(transaction, changed)
            return
        checks = [*(fence.check for fence in fences), *transaction.reads.checks(())]
        result = await self._transacting.committer.commit_guarded(Batch(transaction.token, checks))
        if isinstance(result, Refused):
            await check_fences(self._core.store, result, fences)
            raise self._conflict(transaction, result.keys)

    async def _commit(self, transaction: TransactionCore, result: Any, unforgotten: Sequence[Operation]) -> _End:
        options, committer = self._options, self._transacting.committer
        kept = _plain(result) if self._keeps_result else None
        extra = [
            *(fence.check for fence in options.fences),
            *unforgotten,
            *self._core.appender.commands.put(
                options.idempotency_key, options.fingerprint, _outcome(transaction.token, kept), transaction.token
            ),
            *self._record(transaction, kept),
        ]
        batch = transaction.batch(extra)
        if not transaction.has_events:
            batch = committer.with_outcome(batch)
        answer = await committer.commit(batch)
        if isinstance(answer, Committed):
            transaction.answer = answer
            return _End(result)
        earlier = await self._earlier()
        if earlier is not None:
            return earlier
        await check_fences(self._core.store, answer, options.fences)
        raise self._conflict(transaction, answer.keys)

    @property
    def _keeps_result(self) -> bool:
        """Not where nobody asks for it; nor what may be about somebody, since nobody could erase it there."""
        is_asked_for = self._options.idempotency_key is not None or self._transacting.keeps_records
        return is_asked_for and self._core.protection is None

    def _conflict(self, transaction: TransactionCore, keys: frozenset[Key] | None) -> TransactionConflictError:
        """The error for documents that changed; the next attempt takes its turn over them."""
        touched = {*transaction.reads.keys, *transaction.written_keys}
        self._collided = frozenset(touched & keys if keys else touched)
        return TransactionConflictError(keys=tuple(str(key) for key in sorted(keys or touched)))

    async def result_of(self, transaction_id: str) -> Any:
        """The result of a transaction that has committed, where its record or that of its command still has it."""
        record = await self._transacting.records.get(transaction_id)
        if record is not None:
            return record.result
        earlier = await self._earlier()
        return None if earlier is None else earlier.result

    async def _earlier(self) -> _End | None:
        """What an earlier run under the same idempotency key came to."""
        options = self._options
        command = await self._core.appender.commands.earlier(options.idempotency_key, options.fingerprint)
        if command is None:
            return None
        return _End(command.get("result"))

    async def _check_repeatable(self, transaction: TransactionCore) -> None:
        again = self._transacting.transaction(transaction.reads, transaction.token, transaction.attempt)
        try:
            await self._called(again)
        except Exception as error:
            if fate_of(error) in RETRIED and error is not again.own_error:
                raise
            raise NotRepeatableError(difference=f"the second run raised {type(error).__name__}: {error}") from error
        difference = transaction.difference(again)
        if difference is not None:
            raise NotRepeatableError(difference=difference)

    # What is left in the log

    def _record(self, transaction: TransactionCore, result: bytes | None) -> Sequence[Put]:
        if not self._transacting.keeps_records:
            return ()
        body = self._record_body(transaction, TransactionStatus.COMMITTED, transaction.token, result=result)
        return (Put(self._transacting.records.key(transaction.token), body, Require.ABSENT),)

    async def record_failure(self, status: TransactionStatus, error: Exception) -> None:
        """Leave a record of a transaction that wrote nothing. Of an unknown one none is left: it may still land."""
        transaction = self._last
        if transaction is None or not self._transacting.keeps_records or isinstance(error, CommitUnknownError):
            return
        token = self._runtime.unique()
        # With a keyring, without its text: that may be about somebody.
        reason = type(error).__name__ if self._core.protection is not None else f"{type(error).__name__}: {error}"
        body = self._record_body(transaction, status, token, reason=reason)
        await self._transacting.records.write(transaction.token, token, body)

    def _record_body(
        self,
        transaction: TransactionCore,
        status: TransactionStatus,
        token: str,
        *,
        reason: str | None = None,
        result: bytes | None = None,
    ) -> bytes:
        return encode_record(
            token=token,
            started=self._started,
            ended=self._runtime.now(),
            status=status,
            reads=transaction.reads.keys,
            writes=transaction.written_keys,
            attempts=self._attempts,
            reason=reason,
            result=result,
        )


def _resumed(options: Options, reference: TokenRef) -> Options:
    """A transaction that was not committed becomes a command known by its token: whoever has that may resume it once.

    Otherwise a caller that is killed while it resumes would do so again, and have it carried out twice.
    """
    if options.idempotency_key is not None:
        return options
    return replace(options, idempotency_key=f"token:{reference.id}", fingerprint=b"")


def _outcome(token: str, result: bytes | None) -> dict[str, Any]:
    """What a command's record says of the transaction that carried it out."""
    return {"transaction": token} if result is None else {"transaction": token, "result": orjson.Fragment(result)}


def _plain(result: Any) -> bytes | None:
    """A result as JSON text, if it is short plain data."""
    if result is None:
        return None
    try:
        text = encode(result)
    except EncodingError:
        return None
    return text if len(text) <= MAX_RESULT_BYTES else None


def states_to_write(given: NewStates, states: States) -> Mapping[str, Any]:
    """What `read_write_transaction` is to write: as given, or as made from the states read.

    Raises:
        InvalidInputError: not a mapping.
    """
    made = given(states) if callable(given) else given
    if not isinstance(made, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"to_write must give a mapping of state ids to states, not {type(made).__name__}")
    return made
