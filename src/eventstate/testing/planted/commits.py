"""Bugs in the settling of commits: each is a rule that is shorter than the one in use."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.core.documents import Batch, Committed, Put, Refused, Require, Unknown
from eventstate.core.format import token_in
from eventstate.core.settlement import (
    ABORTED_OUTCOME,
    TokenRef,
    Verdict,
    Witness,
    judge_entry,
    outcome_key,
    witness_of,
)
from eventstate.testing.conformance.killing import AbortCases, OutcomeCases
from eventstate.testing.conformance.settlement import ExpiryCases, LateCopyCases, RefusedResendCases
from eventstate.testing.planted.plant import Patch, Plant
from eventstate.transactions import commit
from eventstate.transactions.commit import Committer


async def _token_of_entry(committer: Committer, witness: Witness) -> str | None:
    entry = await committer._read(witness.entry)
    return token_in(entry.body) if entry else None


def _settled_by_a_read() -> list[Patch]:
    async def settle(self: Committer, batch: Batch, _cause: str) -> Committed | Refused:
        witness = witness_of(batch)
        assert witness is not None
        if await _token_of_entry(self, witness) == batch.token:
            return await self._committed_by_token(batch) or Committed({}, 0)
        return Refused(None)

    return [(Committer, "_settle", settle)]


def _token_settled_by_a_read() -> list[Patch]:
    async def judge(self: Committer, reference: TokenRef) -> Verdict:
        witness = Witness(owner=reference.owner, stream=reference.stream, version=reference.version, needs=Require.ANY)
        return await self._judge_stream(witness, reference.id)

    return [(Committer, "_judge_moved", judge)]


def _refusal_is_conflict() -> list[Patch]:
    async def settle(self: Committer, batch: Batch, cause: str) -> Committed | Refused:
        started, attempt = self._store.runtime.monotonic(), 0
        while True:
            attempt += 1
            await self._pause(attempt, started, self._reference(batch), cause)
            result = await self._resend(batch)
            if not isinstance(result, Unknown):
                return result

    return [(Committer, "_settle", settle)]


def _abort_leaves_head() -> list[Patch]:
    async def move_head(_self: Committer, _witness: Witness) -> bool:
        return True

    def judge(witness: Witness, token: str, **found: Any) -> Verdict:
        verdict = judge_entry(witness, token, **found)
        return Verdict.DEAD if verdict is Verdict.OPEN else verdict

    return [(Committer, "_move_head", move_head), (commit, "judge_entry", judge)]


def _retried_as_new() -> list[Patch]:
    async def settle(_self: Committer, _batch: Batch, _cause: str) -> Committed | Refused:
        return Refused(None)  # which has the append planned anew, under a new token

    return [(Committer, "_settle", settle)]


def _base_with_head() -> list[Patch]:
    async def judge(self: Committer, witness: Witness, token: str) -> Verdict:
        head = await self._read(witness.head)
        return judge_entry(
            witness,
            token,
            head_revision=head.revision if head else None,
            entry_token=await _token_of_entry(self, witness),
            base_version=commit._base_version(head),
        )

    return [(Committer, "_judge_stream", judge)]


def _expired_is_dead() -> list[Patch]:
    def judge(witness: Witness, token: str, **found: Any) -> Verdict:
        found["base_version"] = 0
        return judge_entry(witness, token, **found)

    return [(commit, "judge_entry", judge)]


def _no_outcome() -> list[Patch]:
    def with_outcome(_self: Committer, batch: Batch) -> Batch:
        return batch

    return [(Committer, "with_outcome", with_outcome)]


def _outcome_overwritten() -> list[Patch]:
    async def judge(self: Committer, token: str) -> Verdict:
        key = outcome_key(self._owner, token)
        aborted = commit._outcome_body(token, ABORTED_OUTCOME)
        await self._resend(Batch(token, (Put(key, aborted, Require.ANY),)))
        return Verdict.DEAD

    return [(Committer, "_judge_outcome", judge)]


def _outcome_only_read() -> list[Patch]:
    async def judge(self: Committer, token: str) -> Verdict:
        document = await self._read(outcome_key(self._owner, token))
        return Verdict.DEAD if document is None else Verdict.COMMITTED

    return [(Committer, "_judge_outcome", judge)]


def _unsent_resend_is_final() -> list[Patch]:
    async def resend(self: Committer, batch: Batch) -> Any:
        return await self._store.commit(batch)

    return [(Committer, "_resend", resend)]


COMMIT_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="settled-by-a-read",
        story="no answer: look whether the entry is there, and that is that",
        patches=_settled_by_a_read,
        suite=LateCopyCases,
        cases=["test_a_copy_that_lands_just_before_its_resend_is_the_commit"],
        in_simulation=True,
    ),
    Plant(
        name="token-settled-by-a-read",
        story="whoever asks for a token's fate is told what is there now",
        patches=_token_settled_by_a_read,
        suite=LateCopyCases,
        cases=["test_a_commit_given_up_never_lands"],
        in_simulation=True,
    ),
    Plant(
        name="refusal-of-a-resend-is-a-conflict",
        story="refused is refused",
        patches=_refusal_is_conflict,
        suite=RefusedResendCases,
        cases=["test_a_lost_answer_is_no_conflict"],
        in_simulation=True,
    ),
    Plant(
        name="abort-leaves-the-head",
        story="the check failed, so the batch is dead",
        patches=_abort_leaves_head,
        suite=AbortCases,
        cases=["test_a_check_that_becomes_true_again_revives_nothing"],
    ),
    Plant(
        name="retried-under-a-new-token",
        story="no answer: try again from the start",
        patches=_retried_as_new,
        suite=RefusedResendCases,
        cases=["test_a_lost_answer_is_no_conflict", "test_a_resend_is_the_same_batch"],
        in_simulation=True,
    ),
    Plant(
        name="base-read-with-the-head",
        story="one read of the head tells its revision and its base",
        patches=_base_with_head,
        suite=RefusedResendCases,
        cases=["test_what_is_pruned_between_two_reads_is_not_written_again"],
    ),
    Plant(
        name="expired-is-never-applied",
        story="no entry, so it was not applied",
        patches=_expired_is_dead,
        suite=ExpiryCases,
        cases=["test_a_token_whose_entry_is_pruned_is_expired"],
    ),
    Plant(
        name="no-outcome",
        story="documents prove themselves",
        patches=_no_outcome,
        suite=OutcomeCases,
        cases=["test_a_lost_answer_is_found_though_others_moved_on"],
    ),
    Plant(
        name="outcome-overwritten",
        story="an abort is written whatever is there",
        patches=_outcome_overwritten,
        suite=OutcomeCases,
        cases=["test_a_commit_that_landed_late_is_found"],
    ),
    Plant(
        name="outcome-only-read",
        story="no outcome: not committed",
        patches=_outcome_only_read,
        suite=OutcomeCases,
        cases=["test_a_commit_given_up_never_lands"],
    ),
    Plant(
        name="unsent-resend-is-final",
        story="the store said that nothing was sent",
        patches=_unsent_resend_is_final,
        suite=RefusedResendCases,
        cases=["test_a_resend_that_could_not_be_sent_says_nothing"],
        in_simulation=True,
    ),
)
