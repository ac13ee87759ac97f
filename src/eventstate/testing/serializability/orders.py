"""The order of the values of one key, and what the reads of this key alone give away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from eventstate.testing.serializability.anomalies import Anomaly, Kind, shown
from eventstate.testing.serializability.history import Transaction
from eventstate.testing.serializability.observations import FINAL, KeyHistory, Observation

NOBODY: Final = -1


class KeyOrder:
    """The longest list that was seen of a key is the order of its appends; every other read must be its beginning.

    Attributes:
        known: what the history says of the key.
        longest: the longest read, or the final one.
        place: by value its place in ``longest``.
        before, after: for the first ``n`` values of ``longest``, at ``n``: whose value is the last of them, and whose
            is the next one. Repeated values, and those of transactions that did not happen, are passed over; `NOBODY`
            where there is none.
        readers: who saw which beginning of ``longest``, without own appends.
        unseen: transactions that happened with a value that is in no list, so that it was appended after all others.
    """

    __slots__ = ("_forks", "_longest_seen", "after", "before", "known", "longest", "place", "readers", "unseen")

    def __init__(self, known: KeyHistory) -> None:
        self.known = known
        seen = known.observations
        if known.final is not None:
            seen = [Observation(FINAL, known.final, None), *seen]
        self._longest_seen = max(seen, key=lambda one: len(one.values), default=Observation(FINAL, (), None))
        self.longest = self._longest_seen.values
        self.place = {value: place for place, value in reversed(list(enumerate(self.longest)))}
        owners = [self._owner(value, place) for place, value in enumerate(self.longest)]
        self.before = [NOBODY]
        for owner in owners:
            self.before.append(self.before[-1] if owner == NOBODY else owner)
        self.after = [NOBODY]
        for owner in reversed(owners):
            self.after.append(self.after[-1] if owner == NOBODY else owner)
        self.after.reverse()
        self._forks: list[Observation] = []
        self.readers: list[tuple[int, int]] = []
        for one in seen:
            if one.values != self.longest[: len(one.values)]:
                self._forks.append(one)
            elif one.base is not None:
                self.readers.append((one.transaction, one.base))
        # With a final read such a value was not appended last: it is lost.
        self.unseen = [
            number
            for number, values in known.appends.items()
            if known.final is None and not all(value in self.place for value in values)
        ]

    def _owner(self, value: int, place: int) -> int:
        owner = self.known.writers.get(value, NOBODY)
        # A value that is there again was not appended again.
        return owner if owner in self.known.appends and self.place[value] == place else NOBODY

    def anomalies(self, history: Sequence[Transaction]) -> Iterator[Anomaly]:
        """What is wrong with this key."""
        yield from self._values(history, self._longest_seen, self.longest)
        for fork in self._forks:
            yield from self._values(history, fork, [value for value in fork.values if value not in self.place])
            numbers = [fork.transaction, self._longest_seen.transaction]
            text = f"{_reader(history, fork)} saw {{key}} as {shown(fork.values)}, which is not the beginning of what"
            text += f" {_reader(history, self._longest_seen)} saw, {shown(self.longest)}"
            yield self._anomaly(history, Kind.INCOMPATIBLE_ORDER, numbers, text)
        yield from self._intermediate_reads(history)
        yield from self._lost_updates(history)
        yield from self._lost_appends(history)
        yield from self._turned_round(history)

    def _values(self, history: Sequence[Transaction], seen: Observation, new: Sequence[int]) -> Iterator[Anomaly]:
        reader = _reader(history, seen)
        if len(set(seen.values)) < len(seen.values):
            again = sorted({value for value in seen.values if seen.values.count(value) > 1})
            text = f"{reader} saw {{key}} as {shown(seen.values)}, with {shown(again)} more than once"
            yield self._anomaly(history, Kind.DUPLICATES, [seen.transaction], text)
        for value in dict.fromkeys(new):
            writer = self.known.writers.get(value)
            if writer is None:
                text = f"{reader} saw {value} in {{key}}, which nobody appended"
                yield self._anomaly(history, Kind.GARBAGE_READ, [seen.transaction], text)
            elif writer not in self.known.appends:
                text = f"{reader} saw {value} in {{key}}, which {history[writer].id} appended, but that aborted"
                yield self._anomaly(history, Kind.G1A, [writer, seen.transaction], text)

    def _intermediate_reads(self, history: Sequence[Transaction]) -> Iterator[Anomaly]:
        for reader, base in self.readers:
            value = self.longest[base - 1] if base else None
            values = self.known.appends.get(self.before[base])
            # The last value, not any of them: a list that goes on with another's append shows as a cycle of ww.
            if values and len(values) > 1 and value in values[:-1]:
                missing = values[values.index(value) + 1 :]
                text = f"{history[reader].id} read {{key}} up to {value}, which {history[self.before[base]].id}"
                text += f" appended together with {shown(missing)}"
                yield self._anomaly(history, Kind.G1B, [self.before[base], reader], text)

    def _lost_updates(self, history: Sequence[Transaction]) -> Iterator[Anomaly]:
        updaters: defaultdict[int, list[int]] = defaultdict(list)
        for reader, base in self.readers:
            if reader in self.known.appends:
                updaters[base].append(reader)
        for base, numbers in updaters.items():
            if len(numbers) > 1:
                text = f"{' and '.join(history[number].id for number in numbers)} all read {{key}} as"
                text += f" {shown(self.longest[:base])}, and each appended to it"
                yield self._anomaly(history, Kind.LOST_UPDATE, numbers, text)

    def _lost_appends(self, history: Sequence[Transaction]) -> Iterator[Anomaly]:
        if self.known.final is None:
            return
        there = frozenset(self.known.final)
        for number, values in self.known.appends.items():
            for value in values:
                if value not in there:
                    text = f"{history[number].id} appended {value} to {{key}}, but the final read has it not"
                    yield self._anomaly(history, Kind.LOST_APPEND, [number], text)

    def _turned_round(self, history: Sequence[Transaction]) -> Iterator[Anomaly]:
        end = len(self.longest)
        for number, values in self.known.appends.items():
            if len(values) > 1:
                places = [self.place.get(value, end) for value in values]
                if places != sorted(places):
                    text = f"{history[number].id} appended {shown(values)} to {{key}} in this order, which is not that"
                    text += f" of {shown(self.longest)}"
                    yield self._anomaly(history, Kind.INTERNAL, [number], text)

    def _anomaly(self, history: Sequence[Transaction], kind: Kind, numbers: Sequence[int], text: str) -> Anomaly:
        ids = tuple(history[number].id for number in dict.fromkeys(numbers) if number != FINAL)
        key = self.known.key
        return Anomaly(kind=kind, transactions=ids, key=key, explanation=text.replace("{key}", repr(key)))


def _reader(history: Sequence[Transaction], seen: Observation) -> str:
    return "the final read" if seen.transaction == FINAL else history[seen.transaction].id
