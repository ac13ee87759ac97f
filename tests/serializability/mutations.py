"""Ways to break a valid history so that it is certain what must be found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import combinations
from random import Random

from eventstate.testing.serializability import Append, Kind, Operation, Outcome, Read, Transaction
from tests.serializability.histories import Recorded

CYCLES = frozenset(kind for kind in Kind if kind.startswith("G") and kind not in (Kind.G1A, Kind.G1B))

Mutation = Callable[[Random, Recorded], Recorded | None]
"""The broken history, or None where this one has no place for it."""

Place = tuple[int, int]
"""Which transaction, which of its operations."""


def reads(recorded: Recorded) -> Iterator[tuple[Place, Read]]:
    for number, transaction in enumerate(recorded.history):
        if transaction.outcome is Outcome.COMMITTED:
            for place, operation in enumerate(transaction.operations):
                if isinstance(operation, Read):
                    yield (number, place), operation


def first_reads(recorded: Recorded) -> Iterator[tuple[Place, Read]]:
    """Reads that are the first their transaction does with the key: these tell which version it saw."""
    for (number, place), read in reads(recorded):
        if all(operation.key != read.key for operation in recorded.history[number].operations[:place]):
            yield (number, place), read


def appends_of(transaction: Transaction, key: str) -> list[int]:
    return [one.value for one in transaction.operations if isinstance(one, Append) and one.key == key]


def writer_of(recorded: Recorded, key: str, value: int) -> Transaction:
    return next(one for one in recorded.history if Append(key, value) in one.operations)


def with_read(recorded: Recorded, place: Place, values: tuple[int, ...]) -> Recorded:
    number, index = place
    transaction = recorded.history[number]
    operations: list[Operation] = list(transaction.operations)
    operations[index] = Read(operations[index].key, values)
    return with_transaction(recorded, number, replace(transaction, operations=operations))


def with_transaction(recorded: Recorded, number: int, transaction: Transaction) -> Recorded:
    history = list(recorded.history)
    history[number] = transaction
    return Recorded(history, recorded.final)


def value_read_twice(random: Random, recorded: Recorded) -> Recorded | None:
    choices = [(place, read) for place, read in reads(recorded) if read.values]
    if not choices:
        return None
    place, read = random.choice(choices)
    return with_read(recorded, place, (*read.values, random.choice(read.values)))


def value_of_nobody(random: Random, recorded: Recorded) -> Recorded | None:
    choices = list(reads(recorded))
    if not choices:
        return None
    place, read = random.choice(choices)
    return with_read(recorded, place, (*read.values, -1))


def writer_aborted(random: Random, recorded: Recorded) -> Recorded | None:
    choices = [(key, value) for key, values in recorded.final.items() for value in values]
    if not choices:
        return None
    writer = writer_of(recorded, *random.choice(choices))
    number = recorded.history.index(writer)
    return with_transaction(recorded, number, replace(writer, outcome=Outcome.ABORTED, ended=writer.started))


def values_swapped(random: Random, recorded: Recorded) -> Recorded | None:
    choices = [(place, read) for place, read in reads(recorded) if len(read.values) > 1]
    if not choices:
        return None
    place, read = random.choice(choices)
    values = list(read.values)
    one, other = random.sample(range(len(values)), 2)
    values[one], values[other] = values[other], values[one]
    return with_read(recorded, place, tuple(values))


def value_lost(random: Random, recorded: Recorded) -> Recorded | None:
    choices = [
        (key, value)
        for key, values in recorded.final.items()
        for value in values
        if writer_of(recorded, key, value).outcome is Outcome.COMMITTED
    ]
    if not choices:
        return None
    key, lost = random.choice(choices)
    left = tuple(value for value in recorded.final[key] if value != lost)
    return Recorded(recorded.history, {**recorded.final, key: left})


def update_lost(random: Random, recorded: Recorded) -> Recorded | None:
    updates = [
        (place, read)
        for place, read in first_reads(recorded)
        if any(isinstance(one, Append) and one.key == read.key for one in recorded.history[place[0]].operations)
    ]
    choices = [
        (later, one.values)
        for (_, one), (later, other) in combinations(updates, 2)
        if one.key == other.key and len(one.values) < len(other.values)
    ]
    return with_read(recorded, *random.choice(choices)) if choices else None


def read_between(random: Random, recorded: Recorded) -> Recorded | None:
    choices: list[tuple[Place, tuple[int, ...]]] = []
    for place, read in first_reads(recorded):
        for index, value in enumerate(read.values):
            if value in appends_of(writer_of(recorded, read.key, value), read.key)[:-1]:
                choices.append((place, read.values[: index + 1]))
    return with_read(recorded, *random.choice(choices)) if choices else None


def writes_crossed(random: Random, recorded: Recorded) -> Recorded | None:
    """Let two transactions change places in one of two lists that both appended to."""
    choices: list[tuple[str, int, int]] = []
    for one, other in combinations(recorded.history, 2):
        shared = [
            key
            for key, values in recorded.final.items()
            if {*appends_of(one, key)} & {*values} and {*appends_of(other, key)} & {*values}
        ]
        if len(shared) > 1:
            key = random.choice(shared)
            choices.append((key, appends_of(one, key)[0], appends_of(other, key)[0]))
    if not choices:
        return None
    key, one, other = random.choice(choices)
    swapped = {one: other, other: one}

    def crossed(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(swapped.get(value, value) for value in values)

    broken = Recorded(recorded.history, {**recorded.final, key: crossed(recorded.final[key])})
    for place, read in reads(recorded):
        if read.key == key:
            broken = with_read(broken, place, crossed(read.values))
    return broken


def read_of_the_past(random: Random, recorded: Recorded) -> Recorded | None:
    """A read misses a value whose writer had ended before."""
    choices: list[tuple[Place, tuple[int, ...]]] = []
    for place, read in first_reads(recorded):
        for index, value in enumerate(read.values):
            writer = writer_of(recorded, read.key, value)
            if writer.ended is not None and writer.ended < recorded.history[place[0]].started:
                choices.append((place, read.values[:index]))
    return with_read(recorded, *random.choice(choices)) if choices else None


def read_of_the_future(random: Random, recorded: Recorded) -> Recorded | None:
    """A read has a value whose writer started after the reader's end."""
    choices: list[tuple[Place, tuple[int, ...]]] = []
    for place, read in first_reads(recorded):
        reader = recorded.history[place[0]]
        for index, value in enumerate(recorded.final.get(read.key, ())):
            late = reader.ended is not None and reader.ended < writer_of(recorded, read.key, value).started
            if late and not appends_of(reader, read.key):
                choices.append((place, recorded.final[read.key][: index + 1]))
    return with_read(recorded, *random.choice(choices)) if choices else None


def own_append_missed(random: Random, recorded: Recorded) -> Recorded | None:
    choices: list[tuple[Place, tuple[int, ...]]] = []
    for (number, place), read in reads(recorded):
        if any(isinstance(one, Append) and one.key == read.key for one in recorded.history[number].operations[:place]):
            choices.append(((number, place), read.values[:-1]))
    return with_read(recorded, *random.choice(choices)) if choices else None


MUTATIONS: list[tuple[Mutation, Collection[Kind]]] = [
    (value_read_twice, {Kind.DUPLICATES}),
    (value_of_nobody, {Kind.GARBAGE_READ}),
    (writer_aborted, {Kind.G1A}),
    (values_swapped, {Kind.INCOMPATIBLE_ORDER}),
    (value_lost, {Kind.LOST_APPEND}),
    (update_lost, {Kind.LOST_UPDATE}),
    (read_between, {Kind.G1B}),
    (writes_crossed, {Kind.G0}),
    (read_of_the_past, CYCLES),
    (read_of_the_future, CYCLES),
    (own_append_missed, {Kind.INTERNAL}),
]
"""With the kinds of which at least one must be found."""
