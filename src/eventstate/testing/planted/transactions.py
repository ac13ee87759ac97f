"""Bugs in transactions: in what a commit is conditional on, what is part of it, and what is done after a refusal."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from eventstate.core.documents import GUARD, OUTBOX, TRANSACTION, Batch, Committed, Key, Operation, Refused, Require
from eventstate.core.retrying import Fate
from eventstate.machines import transacting
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.buffering import StreamBuffer, Work
from eventstate.machines.transacting import Options, _End, _Run
from eventstate.testing.conformance.following import EffectCases, FenceCases, RecordCases
from eventstate.testing.conformance.isolation import IsolationCases
from eventstate.testing.conformance.listing import ListingCases
from eventstate.testing.conformance.operating import OperationCases
from eventstate.testing.conformance.retrying import CrowdCases, PersistenceCases
from eventstate.testing.conformance.unanswered import DoubtCases, KeyedCases
from eventstate.testing.planted.plant import Patch, Plant
from eventstate.transactions import documents, retry
from eventstate.transactions.commit import Committer
from eventstate.transactions.documents import DocumentBuffer
from eventstate.transactions.fencing import check_fences
from eventstate.transactions.readset import ReadSet

_batch = TransactionCore.batch
_checks = ReadSet.checks
_operations = DocumentBuffer.operations
_read = StreamBuffer._read
_get = ReadSet.get
_changed = ReadSet.changed
_scan = ReadSet.scan
_commit = _Run._commit
_judge = _Run._judge
_earlier = _Run._earlier
_committed = Committer.commit


def _reads_not_checked() -> list[Patch]:
    def checks(self: ReadSet, besides: Collection[Key]) -> list[Operation]:
        return [] if besides else _checks(self, besides)

    return [(ReadSet, "checks", checks)]


def _absent_not_checked() -> list[Patch]:
    def checks(self: ReadSet, besides: Collection[Key]) -> list[Operation]:
        checks = _checks(self, besides)
        return [check for check in checks if check.when is not Require.ABSENT] if besides else checks

    return [(ReadSet, "checks", checks)]


def _zombies_are_shown() -> list[Patch]:
    async def judge(_self: _Run, _transaction: TransactionCore, error: Exception) -> _End:
        return _End(None, error)

    return [(_Run, "_judge", judge)]


def _reads_alone_not_confirmed() -> list[Patch]:
    async def confirm(_self: _Run, _transaction: TransactionCore) -> None:
        return None

    return [(_Run, "_confirm", confirm)]


def _no_outcome() -> list[Patch]:
    def with_outcome(_self: Committer, batch: Batch) -> Batch:
        return batch

    return [(Committer, "with_outcome", with_outcome)]


def _apart(kind: str) -> list[Patch]:
    """What is of this kind is written by a commit of its own, once the transaction has committed."""

    async def commit(self: Committer, batch: Batch) -> Committed | Refused:
        apart = [operation for operation in batch.operations if operation.key.kind == kind]
        rest = [operation for operation in batch.operations if operation.key.kind != kind]
        result = await _committed(self, Batch(batch.token, rest) if rest else batch)
        if isinstance(result, Committed) and apart and rest:
            await self._store.commit(Batch(batch.token, apart))
        return result

    return [(Committer, "commit", commit)]


def _record_afterwards() -> list[Patch]:
    return _apart(TRANSACTION)


def _effect_afterwards() -> list[Patch]:
    return _apart(OUTBOX)


def _guard_stays() -> list[Patch]:
    def operations(self: DocumentBuffer, token: str) -> list[Operation]:
        return [operation for operation in _operations(self, token) if operation.key.kind != GUARD]

    return [(DocumentBuffer, "operations", operations)]


def _old_reads_kept() -> list[Patch]:
    async def get(self: ReadSet, key: Key) -> Any:
        remembered: dict[Key, Any] = vars(self._turn._turns).setdefault("remembered", {})
        if key not in remembered:
            remembered[key] = await _get(self, key)
        self._seen.setdefault(key, remembered[key])
        return self._seen[key]

    return [(ReadSet, "get", get)]


def _last_open_wins() -> list[Patch]:
    async def open(self: StreamBuffer, state_id: str) -> Work:
        work = self._opened.get(state_id)
        if work is None:
            work = self._opened[state_id] = await _read(self, state_id)
        return work

    return [(StreamBuffer, "_open", open)]


def _one_guard_is_one_read() -> list[Patch]:
    async def changed(self: ReadSet, committer: Committer) -> frozenset[Key]:
        return frozenset() if len(self._seen) < 2 else await _changed(self, committer)

    return [(ReadSet, "changed", changed)]


def _lists_read_anew() -> list[Patch]:
    async def scan(self: ReadSet, guard: Key, prefix: str) -> Any:
        self._lists.pop((guard, prefix), None)
        return await _scan(self, guard, prefix)

    return [(ReadSet, "scan", scan)]


def _nothing_written_nothing_kept() -> list[Patch]:
    async def commit(self: _Run, transaction: TransactionCore, result: Any, unforgotten: Any) -> _End:
        if transaction.has_writes:
            return await _commit(self, transaction, result, unforgotten)
        await self._confirm(transaction)
        return _End(result)

    return [(_Run, "_commit", commit)]


def _fence_before_key() -> list[Patch]:
    async def earlier(self: _Run) -> _End | None:
        await check_fences(self._core.store, Refused(None), self._options.fences)
        return await _earlier(self)

    return [(_Run, "_earlier", earlier)]


def _resumed_as_new() -> list[Patch]:
    def resumed(options: Options, _reference: Any) -> Options:
        return options

    return [(transacting, "_resumed", resumed)]


def _own_mismatch_retried() -> list[Patch]:
    async def judge(self: _Run, transaction: TransactionCore, error: Exception) -> _End:
        transaction.own_error = None
        return await _judge(self, transaction, error)

    return [(_Run, "_judge", judge)]


def _declared_once_for_all() -> list[Patch]:
    return [(documents, "AGREED_SECONDS", float("inf"))]


def _retried_as_new() -> list[Patch]:
    async def settle(_self: Committer, _batch: Batch, _cause: str) -> Committed | Refused:
        return Refused(None)

    return [(Committer, "_settle", settle)]


def _every_error_retried() -> list[Patch]:
    async def judge(_self: _Run, _transaction: TransactionCore, error: Exception) -> _End:
        raise error

    def fate_of(_error: BaseException) -> Fate:
        return Fate.CONFLICT

    return [(_Run, "_judge", judge), (retry, "fate_of", fate_of)]


TRANSACTION_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="read-only-keys-not-checked",
        story="what is not written needs no precondition",
        patches=_reads_not_checked,
        suite=IsolationCases,
        cases=["test_a_document_that_was_only_read_is_checked", "test_a_state_that_was_only_read_is_checked"],
    ),
    Plant(
        name="absent-reads-not-checked",
        story="what is not there can't change",
        patches=_absent_not_checked,
        suite=IsolationCases,
        cases=["test_what_was_absent_is_checked"],
    ),
    Plant(
        name="zombies-are-shown",
        story="an error is an error: why look at reads that are not used",
        patches=_zombies_are_shown,
        suite=IsolationCases,
        cases=["test_an_error_from_torn_reads_is_not_shown"],
    ),
    Plant(
        name="reads-alone-not-confirmed",
        story="who writes nothing can do no harm",
        patches=_reads_alone_not_confirmed,
        suite=IsolationCases,
        cases=["test_reads_of_a_transaction_that_writes_nothing_are_of_one_time"],
    ),
    Plant(
        name="transaction-without-outcome",
        story="documents prove themselves",
        patches=_no_outcome,
        suite=DoubtCases,
        cases=["test_a_lost_answer_is_found_though_others_moved_on", "test_missing_answers_are_settled"],
    ),
    Plant(
        name="record-after-the-commit",
        story="the log is written when it is known how it ended",
        patches=_record_afterwards,
        suite=RecordCases,
        cases=["test_the_record_is_part_of_the_commit"],
    ),
    Plant(
        name="guard-not-replaced",
        story="the guard is there, and that is what counts",
        patches=_guard_stays,
        suite=ListingCases,
        cases=["test_nobody_slips_into_a_list"],
    ),
    Plant(
        name="effect-outside-the-commit",
        story="effects follow the commit, so they are written after it",
        patches=_effect_afterwards,
        suite=EffectCases,
        cases=["test_effects_are_part_of_the_commit"],
    ),
    Plant(
        name="retry-keeps-the-old-reads",
        story="what was read once need not be read again",
        patches=_old_reads_kept,
        suite=PersistenceCases,
        cases=["test_one_who_comes_through_at_last_does_so_once"],
    ),
    Plant(
        name="last-of-two-opened-streams-wins",
        story="a stream is put where it was not yet, and so it is once",
        patches=_last_open_wins,
        suite=IsolationCases,
        cases=["test_two_tasks_of_one_operation_see_the_same"],
    ),
    Plant(
        name="one-guard-is-one-read",
        story="one document is always as it was at one time",
        patches=_one_guard_is_one_read,
        suite=ListingCases,
        cases=["test_a_list_of_many_pages_is_of_one_time"],
    ),
    Plant(
        name="lists-read-anew",
        story="a list is read when it is asked for",
        patches=_lists_read_anew,
        suite=OperationCases,
        cases=["test_others_do_not_make_an_operation_unrepeatable"],
    ),
    Plant(
        name="nothing-written-nothing-kept",
        story="a command that wrote nothing may as well run again",
        patches=_nothing_written_nothing_kept,
        suite=KeyedCases,
        cases=["test_a_command_that_decides_to_write_nothing_is_one_too"],
    ),
    Plant(
        name="fence-before-key",
        story="a lost lock is a lost lock",
        patches=_fence_before_key,
        suite=FenceCases,
        cases=["test_a_command_that_another_did_meanwhile_is_done_though_the_lock_is_lost"],
    ),
    Plant(
        name="resumed-as-a-new-one",
        story="it was not committed, so it is run",
        patches=_resumed_as_new,
        suite=DoubtCases,
        cases=["test_an_unknown_outcome_has_a_token_to_go_on_with"],
    ),
    Plant(
        name="own-mismatch-retried",
        story="a version conflict is a conflict",
        patches=_own_mismatch_retried,
        suite=IsolationCases,
        cases=["test_own_expectations_are_judged_on_reads_that_hold"],
    ),
    Plant(
        name="declared-once-for-all",
        story="whether a collection is guarded is looked up when it is first used",
        patches=_declared_once_for_all,
        suite=ListingCases,
        cases=["test_one_who_used_it_before_it_was_guarded_is_told_soon"],
    ),
    Plant(
        name="transaction-retried-under-a-new-token",
        story="no answer: run it again",
        patches=_retried_as_new,
        suite=CrowdCases,
        cases=["test_lost_answers_among_many_neither_lose_nor_double"],
    ),
    Plant(
        name="every-error-retried",
        story="the next time it may work",
        patches=_every_error_retried,
        suite=PersistenceCases,
        cases=["test_permanent_errors_are_not_tried_again"],
    ),
)
