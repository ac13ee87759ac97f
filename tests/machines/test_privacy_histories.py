"""Random histories with people in them who are erased: every version is what a model says, nothing is in the clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventstate import ANY, Erased, Keyring, Machine, StateMachinePersister, SubjectErasedError, open_store
from eventstate.runtime.blocking import drive
from eventstate.testing.conformance.privacy import stored_bytes
from eventstate.testing.planted import PLANTS

GOVERNOR = "shop"
CANARY = "canary-0c1d"
PEOPLE = ("ada", "grace", "joan")


@dataclass(frozen=True)
class Diary:
    owner: str = "nobody"
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    who: str
    line: str


@dataclass(frozen=True)
class Noted:
    line: str


def write(diary: Diary, event: Told | Noted) -> Diary:
    return replace(diary, lines=(*diary.lines, event.line))


def mark(diary: Diary, event: Erased) -> Diary:
    return replace(diary, lines=(*diary.lines, "-"))


DIARIES = Machine("diary", Diary(), write, subjects={Told: "who"}, state_subject="owner", erased=mark)


@dataclass
class Said:
    """One event as the model keeps it: what it does to a diary, and whom it is about."""

    about: frozenset[str]
    line: str | None = None
    whole: Diary | None = None


@dataclass
class Stream:
    said: list[Said] = field(default_factory=list[Said])

    def states(self, erased: set[str]) -> list[Diary]:
        diary, found = Diary(), list[Diary]()
        for said in self.said:
            if said.about & erased:
                diary = replace(diary, lines=(*diary.lines, "-"))
            elif said.whole is not None:
                diary = said.whole
            else:
                assert said.line is not None
                diary = replace(diary, lines=(*diary.lines, said.line))
            found.append(diary)
        return found

    def people(self, erased: set[str]) -> frozenset[str]:
        """Whom the present state is about."""
        return frozenset().union(*(said.about for said in self.said if not said.about & erased))


class Histories(RuleBasedStateMachine):
    """Diaries of one governor, written by two persisters that do not know of each other."""

    streams: ClassVar[Sequence[str]] = ("1", "2")

    @initialize(every=st.sampled_from([0, 2, 3]))
    def open(self, every: int) -> None:
        self.store, self.keys = open_store("memory://"), open_store("memory://")
        self.writers = [self.persister(every) for _ in range(2)]
        self.model = {id: Stream() for id in self.streams}
        self.erased: set[str] = set()
        self.count = 0

    def persister(self, every: int = 0) -> StateMachinePersister:
        keyring = Keyring(self.keys, governor=GOVERNOR, fresh_seconds=0)
        return StateMachinePersister(
            self.store, governor=GOVERNOR, machines=[DIARIES], keyring=keyring, snapshot_every=every, keep_snapshots=2
        )

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.keys.close()

    def line(self) -> str:
        self.count += 1
        return f"{CANARY}-{self.count}"

    @rule(id=st.sampled_from(streams), writer=st.integers(0, 1), who=st.lists(st.sampled_from(PEOPLE), max_size=3))
    def tell(self, id: str, writer: int, who: list[str]) -> None:
        said = [Said(frozenset([name]), self.line()) for name in who] or [Said(frozenset(), "noted")]
        events: list[Any] = [Told(name, one.line or "") for name, one in zip(who, said, strict=False)]
        events = events or [Noted("noted")]
        try:
            self.writers[writer].append(DIARIES, id, *events, expected=ANY)
        except SubjectErasedError:
            assert set(who) & self.erased
        else:
            assert not set(who) & self.erased
            self.model[id].said += said

    @rule(id=st.sampled_from(streams), writer=st.integers(0, 1), who=st.sampled_from(PEOPLE))
    def save(self, id: str, writer: int, who: str) -> None:
        stream, whole = self.model[id], Diary(who, (self.line(),))
        try:
            self.writers[writer].save_state(f"diary-{id}", whole, expected=ANY)
        except SubjectErasedError:
            assert who in self.erased
        else:
            stream.said.append(Said(stream.people(self.erased) | {who}, whole=whole))

    @rule(who=st.sampled_from(PEOPLE))
    def rotate(self, who: str) -> None:
        keyring = Keyring(self.keys, governor=GOVERNOR)
        if any(info.subject == who for info in keyring.subjects()):
            keyring.rotate(who)

    @precondition(lambda self: len(self.erased) < 2)
    @rule(who=st.sampled_from(PEOPLE))
    def erase(self, who: str) -> None:
        keyring = Keyring(self.keys, governor=GOVERNOR)
        if any(info.subject == who for info in keyring.subjects()):
            keyring.erase(who, "asked for it")
            self.erased.add(who)

    @rule(id=st.sampled_from(streams), writer=st.integers(0, 1))
    def snapshot_or_rebuild(self, id: str, writer: int) -> None:
        if self.model[id].said:
            self.writers[writer].create_snapshot(DIARIES, id)
            self.writers[1 - writer].rebuild(DIARIES, id)

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        for reader in (*self.writers, self.persister()):
            for id, stream in self.model.items():
                if not stream.said:
                    continue
                states = stream.states(self.erased)
                assert reader.load(DIARIES, id).data == states[-1]
                assert [event.to_state for event in reader.history(DIARIES, id)] == states
                middle = len(states) // 2 + 1
                assert reader.load(DIARIES, id, at_version=middle).data == states[middle - 1]
        report = self.writers[0].validate_consistency()
        assert report.is_consistent, report.findings
        assert CANARY.encode() not in drive(stored_bytes(self.store))


SHORT = settings(max_examples=6, stateful_step_count=12, deadline=None)
LONG = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.backend("memory")
def test_random_histories() -> None:
    run_state_machine_as_test(Histories, settings=SHORT)


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.backend("memory")
def test_many_random_histories() -> None:
    run_state_machine_as_test(Histories, settings=LONG)


@pytest.mark.torture
@pytest.mark.backend("memory")
def test_the_histories_can_fail() -> None:
    chosen = settings(max_examples=200, stateful_step_count=20, phases=[Phase.generate], derandomize=True)
    plant = next(plant for plant in PLANTS if plant.name == "state-under-the-first-key")
    with plant.planted(), pytest.raises(Exception):  # noqa: B017 - whatever a bug makes of a history
        run_state_machine_as_test(Histories, settings=chosen)
