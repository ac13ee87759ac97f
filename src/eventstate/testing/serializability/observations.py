"""What the history says of each key: who appended what, and who read what. Decides which transactions happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from eventstate.errors import InvalidInputError
from eventstate.testing.serializability.anomalies import Anomaly, Kind, shown
from eventstate.testing.serializability.history import Append, Outcome, Read, Transaction

FINAL: Final = -1
"""Stands for the final read where the number of a transaction is expected."""


class Observation(NamedTuple):
    """A list as a transaction saw it.

    ``base`` is how many values were there before the transaction's own appends; None where the read only tells the
    order of values, since it is not the transaction's first of this key or contradicts it.
    """

    transaction: int
    values: tuple[int, ...]
    base: int | None


@dataclass(slots=True)
class KeyHistory:
    """All about one key. Transactions are numbers: their place in the history.

    Attributes:
        writers: by value who appended it, whatever became of it.
        appends: values by transaction, in its order; only of those that happened.
        observations: of those that happened.
        final: what it held when all was over, if known.
    """

    key: str
    writers: dict[int, int] = field(default_factory=dict[int, int])
    appends: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    observations: list[Observation] = field(default_factory=list[Observation])
    final: tuple[int, ...] | None = None


def index_keys(history: Sequence[Transaction], final: Mapping[str, Sequence[int]]) -> dict[str, KeyHistory]:
    """Every key with its writers and its final read.

    Raises:
        InvalidInputError: the history is none: two transactions have the same id, a value was appended twice to the
            same key, or a transaction ended before it started.
    """
    keys: dict[str, KeyHistory] = {}
    ids: set[str] = set()
    for number, transaction in enumerate(history):
        if transaction.id in ids:
            raise InvalidInputError(f"two transactions have the id {transaction.id!r}: give each its own")
        ids.add(transaction.id)
        if transaction.ended is not None and transaction.ended < transaction.started:
            raise InvalidInputError(f"transaction {transaction.id!r} ended before it started: check the clock")
        for operation in transaction.operations:
            key = operation.key
            known = keys.get(key)
            if known is None:
                known = keys[key] = KeyHistory(key)
            if isinstance(operation, Append):
                if operation.value in known.writers:
                    raise InvalidInputError(f"{operation.value} is appended twice to {key!r}: give each append its own")
                known.writers[operation.value] = number
    for key, values in final.items():
        keys.setdefault(key, KeyHistory(key)).final = tuple(values)
    return keys


def happened(history: Sequence[Transaction], keys: Mapping[str, KeyHistory]) -> list[int]:
    """The transactions that took effect: the committed ones, and of the unknown ones those that somebody saw."""
    open_values = _values_of_unknown(history)
    took_effect = {number for number, one in enumerate(history) if one.outcome is Outcome.COMMITTED}
    # What a transaction read counts only if it took effect, so each one that is found may bring others.
    to_do = list(took_effect)

    def look(key: str, values: tuple[int, ...]) -> None:
        candidates = open_values.get(key)
        if candidates and not candidates.keys().isdisjoint(values):
            for value in candidates.keys() & values:
                number = candidates.pop(value)
                if number not in took_effect:
                    took_effect.add(number)
                    to_do.append(number)

    for known in keys.values():
        look(known.key, known.final or ())
    while open_values and to_do:
        for operation in history[to_do.pop()].operations:
            if isinstance(operation, Read):
                look(operation.key, operation.values)
    return sorted(took_effect)


def _values_of_unknown(history: Sequence[Transaction]) -> dict[str, dict[int, int]]:
    values: dict[str, dict[int, int]] = {}
    for number, transaction in enumerate(history):
        if transaction.outcome is Outcome.UNKNOWN:
            for operation in transaction.operations:
                if isinstance(operation, Append):
                    values.setdefault(operation.key, {})[operation.value] = number
    return values


def observe(number: int, transaction: Transaction, keys: Mapping[str, KeyHistory]) -> Iterator[Anomaly]:
    """Note what a transaction that happened appended and saw; where it contradicts itself, say so."""
    for operation in transaction.operations:
        if isinstance(operation, Append):
            keys[operation.key].appends.setdefault(number, []).append(operation.value)
    last_read: dict[str, tuple[int, ...]] = {}
    own: dict[str, list[int]] = {}
    for operation in transaction.operations:
        key = operation.key
        if isinstance(operation, Append):
            own.setdefault(key, []).append(operation.value)
            continue
        known, values = keys[key], operation.values
        before, since = last_read.get(key), own.pop(key, [])
        base = None
        if before is None:
            problem = _problem_of_first(values, since, known.appends.get(number, []))
            base = None if problem else len(values) - len(since)
        elif values != (expected := before + tuple(since)):
            problem = f"where its own operations before make it {shown(expected)}"
        else:
            problem = None
        last_read[key] = values
        if problem:
            explanation = f"{transaction.id} read {key!r} as {shown(values)}, {problem}"
            yield Anomaly(kind=Kind.INTERNAL, transactions=(transaction.id,), key=key, explanation=explanation)
        if before != values:
            known.observations.append(Observation(number, values, base))


def _problem_of_first(values: tuple[int, ...], before: Sequence[int], all_own: Sequence[int]) -> str | None:
    base = len(values) - len(before)
    if before and (base < 0 or values[base:] != tuple(before)):
        return f"which does not end with its own appends before, {shown(before)}"
    early = [value for value in all_own[len(before) :] if value in values]
    return f"before it appended {shown(early)} itself" if early else None
