"""Histories for the tests: written down by hand, or made by a store that is serial for certain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from random import Random

from eventstate.testing.serializability import Append, Operation, Outcome, Read, Transaction

Lists = dict[str, tuple[int, ...]]


def a(key: str, value: int) -> Append:
    return Append(key, value)


def r(key: str, *values: int) -> Read:
    return Read(key, values)


def committed(id: str, *operations: Operation, at: tuple[int, int] = (0, 100)) -> Transaction:
    """By default all are concurrent."""
    return Transaction(id=id, process=id, operations=operations, outcome=Outcome.COMMITTED, started=at[0], ended=at[1])


def aborted(id: str, *operations: Operation, at: tuple[int, int] = (0, 100)) -> Transaction:
    return replace(committed(id, *operations, at=at), outcome=Outcome.ABORTED)


def unknown(id: str, *operations: Operation, started: int = 0, ended: int | None = None) -> Transaction:
    return replace(committed(id, *operations), outcome=Outcome.UNKNOWN, started=started, ended=ended)


@dataclass
class Recorded:
    history: list[Transaction]
    final: Lists


def serial_history(random: Random, *, transactions: int = 30, keys: int = 3, length: int = 12) -> Recorded:
    """Transactions run one after the other, each within a time that overlaps with those of others.

    A key whose list has ``length`` values makes place for a new one.
    """
    lists: Lists = {}
    names = [f"k{number}" for number in range(keys)]
    next_key, next_value = keys, 0
    history: list[Transaction] = []
    for number in range(transactions):
        outcome = random.choices(list(Outcome), [80, 10, 10])[0]
        happens = outcome is Outcome.COMMITTED or (outcome is Outcome.UNKNOWN and random.random() < 0.5)
        own = dict(lists)
        operations: list[Operation] = []
        for _ in range(random.randint(1, 4)):
            place = random.randrange(keys)
            key = names[place]
            if len(own.get(key, ())) >= length:
                key = names[place] = f"k{next_key}"
                next_key += 1
            if random.random() < 0.5:
                next_value += 1
                own[key] = (*own.get(key, ()), next_value)
                operations.append(Append(key, next_value))
            else:
                operations.append(Read(key, own.get(key, ())))
        if happens:
            lists = own
        if outcome is Outcome.UNKNOWN:
            operations = [operation for operation in operations if isinstance(operation, Append)]
        moment = number * 10
        history.append(
            Transaction(
                id=f"t{number}",
                process=f"p{number % 5}",
                operations=operations,
                outcome=outcome,
                started=moment - random.randint(0, 40),
                ended=None if outcome is Outcome.UNKNOWN else moment + random.randint(0, 40),
            )
        )
    return Recorded(history, lists)


def is_serializable(history: Sequence[Transaction], final: Mapping[str, tuple[int, ...]] | None) -> bool:
    """The same question as `check`'s, by trying every order of every choice of unknown transactions."""
    certain = [one for one in history if one.outcome is Outcome.COMMITTED]
    doubtful = [one for one in history if one.outcome is Outcome.UNKNOWN]
    for chosen in range(1 << len(doubtful)):
        took_effect = certain + [one for place, one in enumerate(doubtful) if chosen >> place & 1]
        if any(_explains(order, final) for order in permutations(took_effect)):
            return True
    return False


def _explains(order: Sequence[Transaction], final: Mapping[str, tuple[int, ...]] | None) -> bool:
    lists: Lists = {}
    latest_start = -1
    for transaction in order:
        end = transaction.ended if transaction.outcome is Outcome.COMMITTED else None
        if end is not None and end < latest_start:
            return False
        latest_start = max(latest_start, transaction.started)
        for operation in transaction.operations:
            if isinstance(operation, Append):
                lists[operation.key] = (*lists.get(operation.key, ()), operation.value)
            elif lists.get(operation.key, ()) != operation.values:
                return False
    return final is None or all(lists.get(key, ()) == values for key, values in final.items())


def wild_history(random: Random) -> tuple[list[Transaction], Lists | None]:
    """Up to five transactions that may have read nearly anything, and the lists at the end, or None."""
    keys = "xy"[: random.randint(1, 2)]
    plans: list[list[Append | str]] = []
    appended: dict[str, list[int]] = {key: [] for key in keys}
    value = 0
    for _ in range(random.randint(2, 5)):
        plan: list[Append | str] = []
        for _ in range(random.randint(1, 3)):
            key = random.choice(keys)
            if random.random() < 0.55:
                value += 1
                appended[key].append(value)
                plan.append(Append(key, value))
            else:
                plan.append(key)
        plans.append(plan)
    for values in appended.values():
        if random.random() < 0.6:
            random.shuffle(values)
        if random.random() < 0.4:
            del values[random.randint(0, len(values)) :]
    history: list[Transaction] = []
    for number, plan in enumerate(plans):
        outcome = random.choices(list(Outcome), [85, 5, 10])[0]
        started = random.randint(0, 20)
        history.append(
            Transaction(
                id=f"t{number}",
                process="p",
                operations=_wildly_done(random, plan, appended),
                outcome=outcome,
                started=started,
                ended=None if outcome is Outcome.UNKNOWN else started + random.randint(0, 25),
            )
        )
    final = {key: tuple(values) for key, values in appended.items()}
    if random.random() < 0.05:
        final["x"] = tuple(random.choices(range(1, 8), k=random.randint(1, 5)))
    return history, final if random.random() < 0.5 else None


def _wildly_done(
    random: Random, plan: Sequence[Append | str], lists: Mapping[str, Sequence[int]]
) -> Sequence[Operation]:
    seen = {key: list(values[: random.randint(0, len(values))]) for key, values in lists.items()}
    own: dict[str, list[int]] = {key: [] for key in lists}
    all_own = {step.value for step in plan if isinstance(step, Append)}
    operations: list[Operation] = []
    for step in plan:
        if isinstance(step, Append):
            own[step.key].append(step.value)
            operations.append(step)
            continue
        values = seen[step]
        if random.random() < 0.8:
            # Mostly as a sane store would do it, or hardly any history would be valid.
            cut = next((place for place, value in enumerate(values) if value in all_own), len(values))
            values = values[:cut] + own[step]
        if random.random() < 0.05:
            values = random.choices(range(1, 8), k=random.randint(1, 5))
        operations.append(Read(step, tuple(values)))
    return operations
