"""The checker on random histories: valid ones are clean, broken ones are not, and it agrees with a search by force."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventstate.testing.serializability import Kind, Operation, Read, Transaction, check
from tests.serializability.histories import Lists, is_serializable, serial_history, wild_history
from tests.serializability.mutations import MUTATIONS, Mutation
from tests.serializability.planted import PLANTED

SEEDS = st.integers(0, 2**64 - 1)


@given(SEEDS, st.booleans())
def test_a_serial_history_is_clean(seed: int, with_final: bool) -> None:
    recorded = serial_history(Random(seed))
    assert check(recorded.history, final=recorded.final if with_final else None) == []


@pytest.mark.parametrize(("mutation", "expected"), MUTATIONS, ids=[mutation.__name__ for mutation, _ in MUTATIONS])
@given(seed=SEEDS)
def test_a_broken_history_is_not(mutation: Mutation, expected: Collection[Kind], seed: int) -> None:
    random = Random(seed)
    broken = mutation(random, serial_history(random, transactions=40, keys=2))
    assume(broken is not None)
    assert broken is not None
    assert {found.kind for found in check(broken.history, final=broken.final)} & set(expected)


@pytest.mark.parametrize(("kind", "history", "final", "besides"), PLANTED, ids=[row[0] for row in PLANTED])
@given(seed=SEEDS)
def test_what_is_planted_among_others_is_found_and_nothing_else(
    kind: Kind, history: list[Transaction], final: Lists | None, besides: set[Kind], seed: int
) -> None:
    random = Random(seed)
    recorded = serial_history(random, transactions=20)
    everything = [*recorded.history, *(elsewhere(one) for one in history)]
    random.shuffle(everything)
    lists = recorded.final | {f"planted {key}": values for key, values in (final or {}).items()}
    assert {found.kind for found in check(everything, final=lists)} == {kind} | besides


def elsewhere(transaction: Transaction) -> Transaction:
    """The same on keys of its own."""
    operations: list[Operation] = []
    for one in transaction.operations:
        key = f"planted {one.key}"
        operations.append(Read(key, one.values) if isinstance(one, Read) else one._replace(key=key))
    return replace(transaction, operations=operations)


def agrees(seed: int) -> bool:
    history, final = wild_history(Random(seed))
    found = check(history, final=final)
    return is_serializable(history, final) is (found == [])


def test_it_finds_what_a_search_by_force_finds() -> None:
    assert [seed for seed in range(2000) if not agrees(seed)] == []


@pytest.mark.torture
def test_it_finds_what_a_search_by_force_finds_in_many() -> None:
    assert [seed for seed in range(2000, 500_000) if not agrees(seed)] == []
