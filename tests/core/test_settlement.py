"""The rules for the fate of a commit, held against a model of a store that applies copies late, or not at all."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.documents import ENTRY, HEAD, OUTCOME, Batch, Delete, Key, Put, Require
from eventstate.core.settlement import TokenRef, Verdict, Witness, judge_entry, outcome_key, witness_of
from eventstate.errors import InvalidInputError

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
refs = st.builds(
    TokenRef, id=names, owner=names, stream=names, version=st.integers(0, 10**12), minted=st.integers(0, 2**60)
)


@given(refs)
def test_a_token_comes_back_from_its_text(reference: TokenRef) -> None:
    text = str(reference)
    assert TokenRef.parse(text) == reference
    assert text.isascii()
    assert not set(text) & set(" \n\t'\"")


@pytest.mark.parametrize(
    "text", ["", "es1", "es1:", "es1:x", "es1:bnVsbA==", "es1:W10=", "es2:abc", "\ud800", None, 5, b"x"]
)
def test_what_is_no_token(text: Any) -> None:
    with pytest.raises(InvalidInputError, match="no commit token"):
        TokenRef.parse(text)


HEAD_KEY, ENTRY_KEY = Key(HEAD, "g", "s"), Key(ENTRY, "g", "s", 5)
WITNESS = Witness(owner="g", stream="s", version=5, needs="r4")


def test_the_witness_of_a_batch_is_its_first_stream() -> None:
    put = Put(ENTRY_KEY, b"", Require.ABSENT)
    other = Put(Key(ENTRY, "g", "t", 9), b"", Require.ABSENT)
    batch = Batch("tok", (Delete(Key("snapshot", "g", "s", 1), Require.ANY), put, Put(HEAD_KEY, b"", "r4"), other))
    assert witness_of(batch) == WITNESS
    assert WITNESS.head == HEAD_KEY
    assert WITNESS.entry == ENTRY_KEY
    assert witness_of(Batch("tok", (Put(HEAD_KEY, b"", "r4"),))) is None
    assert outcome_key("g", "tok") == Key(OUTCOME, "g", "tok")


@pytest.mark.parametrize(
    ("head", "entry", "base", "verdict"),
    [
        ("r9", "tok", 0, Verdict.COMMITTED),
        ("r4", "tok", 0, Verdict.COMMITTED),  # the entry says it, whatever the head
        ("r9", "other", 0, Verdict.DEAD),
        ("r9", None, 0, Verdict.DEAD),
        (None, None, 0, Verdict.DEAD),
        ("r9", None, 5, Verdict.EXPIRED),
        ("r9", None, 6, Verdict.EXPIRED),
        ("r4", None, 4, Verdict.OPEN),
        ("r4", None, 0, Verdict.OPEN),  # absent may still land
        ("r4", "other", 0, Verdict.OPEN),
    ],
)
def test_the_verdicts(head: str | None, entry: str | None, base: int, verdict: Verdict) -> None:
    assert judge_entry(WITNESS, "tok", head_revision=head, entry_token=entry, base_version=base) is verdict


def test_a_stream_that_never_existed() -> None:
    first = Witness(owner="g", stream="s", version=1, needs=Require.ABSENT)
    judged = [judge_entry(first, "tok", head_revision=head, entry_token=None, base_version=0) for head in (None, "r1")]
    assert judged == [Verdict.OPEN, Verdict.DEAD]


class Model:
    """One stream of a store: a head revision that never repeats, entries, a base."""

    def __init__(self) -> None:
        self.revision = 1
        self.entry: str | None = None
        self.base = 0

    def mine(self) -> None:
        """A copy of the batch under judgment arrives: it needs the head at revision 1."""
        if self.revision == 1 and self.entry is None:
            self.revision += 1
            self.entry = "tok"

    def others(self) -> None:
        """Another writer appends at the same version."""
        if self.entry is None:
            self.revision += 1
            self.entry = "other"

    def moved(self) -> None:
        """The head is rewritten at the same version."""
        self.revision += 1

    def pruned(self) -> None:
        """All up to and with our version is gone."""
        if self.entry is not None:
            self.revision += 1
            self.base = 1
            self.entry = None


WITNESS_1 = Witness(owner="g", stream="s", version=1, needs="1")


def test_no_interleaving_makes_a_verdict_false() -> None:
    """Events fall before, between and after the three reads; a copy of the batch may be among them."""
    steps = ["mine", "others", "moved", "pruned"]
    seen: set[Verdict] = set()
    for number in range(4):
        for order in itertools.product(steps, repeat=number):
            for cuts in itertools.combinations_with_replacement(range(number + 1), 3):
                model = Model()
                applied = False
                reads: list[Any] = []
                for place in range(number + 1):
                    reads += [(str(model.revision), model.entry, model.base)] * cuts.count(place)
                    if place < number:
                        getattr(model, order[place])()
                        applied = applied or model.entry == "tok"
                (head, _, _), (_, entry, _), (_, _, base) = reads
                verdict = judge_entry(WITNESS_1, "tok", head_revision=head, entry_token=entry, base_version=base)
                seen.add(verdict)
                assert verdict is not Verdict.COMMITTED or applied, (order, cuts)
                if verdict is Verdict.DEAD:
                    model.mine()  # one more late copy
                    assert not applied, (order, cuts)
                    assert model.entry != "tok", (order, cuts)
    assert seen == set(Verdict)


def test_the_order_of_the_reads_matters() -> None:
    """The model can fail: with the base read before the entry, a committed and pruned batch looks dead."""
    model = Model()
    base = model.base
    model.mine()
    model.pruned()
    verdict = judge_entry(
        WITNESS_1, "tok", head_revision=str(model.revision), entry_token=model.entry, base_version=base
    )
    assert verdict is Verdict.DEAD
