"""Bugs in seals and in what is held against them."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.core.documents import Batch, Committed, Document, Put, Require
from eventstate.core.format import sealed_members
from eventstate.core.seals import Seal, encode_seal, seal_of_members
from eventstate.log import verify
from eventstate.log.sealing import taking
from eventstate.log.sealing.bounds import SealedBounds
from eventstate.log.sealing.lists import SealedList
from eventstate.log.sealing.taking import Sealer
from eventstate.log.verify import Verifier
from eventstate.testing.conformance.damage import DamageCases
from eventstate.testing.conformance.sealing import SealCases
from eventstate.testing.planted.plant import Patch, Plant


def _nothing(*_args: Any) -> None:
    return None


def _not_compared() -> list[Patch]:
    return [(Sealer, "_problem", _nothing)]


def _versions_only() -> list[Patch]:
    def meet(_self: Verifier, walk: Any, _sealed: Any, _entry: Any) -> None:
        walk.met = True

    return [(Verifier, "_meet", meet)]


def _present_only() -> list[Patch]:
    return [(Verifier, "_check_seal", _nothing)]


def _list_believed() -> list[Patch]:
    async def check(self: SealedList) -> None:
        self.rewind()

    return [(SealedList, "check", check)]


def _each_for_itself() -> list[Patch]:
    def decode(document: Document, _previous: Seal | None) -> Seal:
        return seal_of_members(document.key.owner, sealed_members(document))

    return [(taking, "decode_seal", decode)]


def _not_settled() -> list[Patch]:
    async def commit(self: Sealer, sealed: Seal, _draft: Any) -> bool:
        put = Put(sealed.key, encode_seal(sealed)[0], Require.ABSENT)
        return isinstance(await self._store.commit(Batch(sealed.token, (put,))), Committed)

    return [(Sealer, "_commit", commit)]


def _from_the_beginning() -> list[Patch]:
    async def skip(self: SealedList, _last: str) -> None:
        self.rewind()

    return [(SealedList, "skip", skip)]


def _removed_at_once() -> list[Patch]:
    return [(taking, "ABANDONED_MICROS", -1)]


def _base_believed() -> list[Patch]:
    return [(verify, "problem_with", _nothing)]


def _beyond_believed() -> list[Patch]:
    async def check(_self: Verifier, _walk: Any) -> None:
        return

    return [(Verifier, "_check_beyond", check)]


def _pruned_beyond() -> list[Patch]:
    async def page(_self: SealedBounds, _after: str, _last: str | None) -> None:
        return None

    return [(SealedBounds, "page", page)]


SEAL_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="seal-not-compared",
        story="a seal is of what is there now; whether that is right is for verify to say",
        patches=_not_compared,
        suite=SealCases,
        cases=["test_nothing_is_sealed_over", "test_a_history_written_anew_is_found"],
    ),
    Plant(
        name="sealed-versions-only",
        story="a stream that reaches the sealed version has not lost anything",
        patches=_versions_only,
        suite=SealCases,
        cases=["test_a_history_written_anew_is_found"],
    ),
    Plant(
        name="sealed-present-only",
        story="every entry that is there is compared",
        patches=_present_only,
        suite=SealCases,
        cases=["test_a_history_that_was_cut_short_is_found", "test_a_stream_that_was_taken_away_is_found"],
    ),
    Plant(
        name="sealed-list-believed",
        story="each part of the list has a digest of its own",
        patches=_list_believed,
        suite=SealCases,
        cases=["test_a_changed_or_missing_list_is_found"],
    ),
    Plant(
        name="seals-not-chained",
        story="the digest of a seal says that it is right",
        patches=_each_for_itself,
        suite=SealCases,
        cases=["test_a_changed_or_missing_seal_is_found"],
    ),
    Plant(
        name="seal-not-settled",
        story="no answer: then take another one",
        patches=_not_settled,
        suite=SealCases,
        cases=["test_whatever_answer_is_lost_one_seal_is_taken"],
    ),
    Plant(
        name="verification-list-from-the-beginning",
        story="the list is in order, so the right place is found by itself",
        patches=_from_the_beginning,
        suite=SealCases,
        cases=["test_a_verification_goes_on_where_it_was"],
    ),
    Plant(
        name="list-of-others-removed",
        story="a list that no seal names is rubbish",
        patches=_removed_at_once,
        suite=SealCases,
        cases=["test_what_a_dead_sealer_left_is_removed_once_it_is_old"],
    ),
    Plant(
        name="entries-beyond-the-head-believed",
        story="others have written since the head was read",
        patches=_beyond_believed,
        suite=DamageCases,
        cases=["test_an_old_head_put_back_is_found"],
    ),
    Plant(
        name="prune-without-the-seal",
        story="a seal is for verify, and pins are for retention",
        patches=_pruned_beyond,
        suite=SealCases,
        cases=["test_retention_keeps_what_is_not_sealed"],
    ),
    Plant(
        name="pruned-beyond-the-seal-believed",
        story="what is pruned can't be checked",
        patches=_base_believed,
        suite=SealCases,
        cases=["test_a_pruned_stream_is_as_sealed_up_to_the_seal"],
    ),
)
