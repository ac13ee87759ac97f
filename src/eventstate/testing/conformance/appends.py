"""What a persister promises about appends: what ``expected`` means, one winner, all or nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

from eventstate.core.expected import ANY
from eventstate.errors import (
    DocumentTooLargeError,
    EncodingError,
    IllegalTransitionError,
    InvalidInputError,
    StateNotFoundError,
    UnknownEventError,
    VersionConflictError,
)
from eventstate.machines.events import Event
from eventstate.machines.together import AppendTo
from eventstate.testing.conformance.persisters import (
    DOORS,
    TALLIES,
    Added,
    Doubled,
    Face,
    PersisterSuite,
    Turned,
    everything,
    tally_of,
)
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.faults import FaultyStore

EVENTS = (Added("a", 3), Doubled("b"), Added("c", 5))


class AppendCases(PersisterSuite):
    """Appends by one after the other."""

    @case
    async def test_an_append_returns_the_state_that_a_load_gives(self) -> None:
        persister = self.persister()
        written = await persister.append(TALLIES, "1", *EVENTS, expected=0, changed_by="kim", reason="test")
        assert (written.id, written.version, written.data) == ("tally-1", 3, tally_of(EVENTS))
        for reader in (persister, self.persister()):
            loaded = await reader.load(TALLIES, "1")
            assert (loaded.data, loaded.version, loaded.action) == (written.data, 3, "Added")
            assert loaded.metadata == written.metadata
            assert (loaded.timestamp, loaded.causality) == (written.timestamp, written.causality)
        await self.consistent(persister)

    @case
    async def test_expected_is_the_version_it_has(self) -> None:
        store = self.open()
        persister = self.persister(store)
        version = 0
        for event in EVENTS:
            for wrong in range(6):
                if wrong != version:
                    before = await everything(store)
                    with raises(VersionConflictError) as caught:
                        await persister.append(TALLIES, "1", event, expected=wrong)
                    assert (caught.error.expected, caught.error.actual) == (wrong, version)
                    assert caught.error.stream == "tally-1"
                    assert await everything(store) == before, "a conflict wrote something"
            version = (await persister.append(TALLIES, "1", event, expected=version)).version

    @case
    async def test_expected_inside_an_entry_of_another_is_a_conflict(self) -> None:
        """Three events in one commit: versions 1 and 2 have no entry of their own, and are no place to append."""
        store = self.open()
        ahead = self.persister(store)
        for id, known in (("0", 0), ("1", 1)):
            behind = self.persister(store)
            if known:
                await behind.append(TALLIES, id, Added("first"), expected=0)
            else:
                with raises(StateNotFoundError):
                    await behind.load(TALLIES, id)
            tip = await ahead.append(TALLIES, id, *EVENTS, expected=known)
            for expected in range(known, tip.version):
                for events in ((Added("x"),), (Added("x"), Added("y"))):
                    with raises(VersionConflictError) as caught:
                        await behind.append(TALLIES, id, *events, expected=expected)
                    assert caught.error.actual == tip.version
            assert await self.marks(self.persister(store), id) == ["first"] * known + ["a", "b", "c"]

    @case
    async def test_one_who_remembers_an_old_tip_is_refused(self) -> None:
        """Two persisters: what one remembers is no longer true, and its append of the same shape must not land."""
        store = self.open()
        first, second = self.persister(store), self.persister(store)
        loaded = await first.append(TALLIES, "1", Added("a"), expected=0)
        same = await second.load(TALLIES, "1")
        await second.append(TALLIES, "1", Added("b"), Added("c"), Added("d"), expected=same)
        for expected in (1, loaded):
            with raises(VersionConflictError) as caught:
                await first.append(TALLIES, "1", Added("x"), expected=expected)
            assert caught.error.actual == 4
        await first.append(TALLIES, "1", Added("e"), expected=4)
        await second.append(TALLIES, "1", Added("f"), expected=5)
        assert await self.marks(first) == ["a", "b", "c", "d", "e", "f"]

    @case
    async def test_any_appends_whatever_the_version_is(self) -> None:
        store = self.open()
        first, second = self.persister(store), self.persister(store)
        for number in range(4):
            written = await (first, second)[number % 2].append(TALLIES, "1", Added(str(number)), expected=ANY)
            assert written.version == number + 1
        assert await self.marks(first) == ["0", "1", "2", "3"]

    @case
    async def test_a_loaded_state_is_an_expectation(self) -> None:
        persister = self.persister()
        state = await persister.append(TALLIES, "1", Added("a"), expected=0)
        for mark in "bcd":
            state = await persister.append(TALLIES, "1", Added(mark), expected=state)
        past = await persister.load(TALLIES, "1", at_version=2)
        with raises(VersionConflictError):
            await persister.append(TALLIES, "1", Added("x"), expected=past)
        other = await persister.append(TALLIES, "2", Added("a"), expected=0)
        with raises(InvalidInputError):
            await persister.append(TALLIES, "1", Added("x"), expected=other)
        assert await self.marks(persister) == ["a", "b", "c", "d"]

    @case
    async def test_an_expectation_that_is_none_is_refused_as_input(self) -> None:
        persister = self.persister()
        for wrong in (None, True, -1, 1.0, "1", 10**12):
            with raises(InvalidInputError):
                await persister.append(TALLIES, "1", Added("x"), expected=wrong)
        with raises(TypeError):
            await persister.append(TALLIES, "1", Added("x"))

    @case
    async def test_what_is_refused_writes_nothing(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await persister.append(DOORS, "1", Turned("open"), expected=0)
        before = await everything(store)
        too_large = "x" * (store.capabilities.max_body_bytes + 1)
        refused: list[tuple[type[Exception], Any]] = [
            (IllegalTransitionError, partial(persister.append, DOORS, "1", Turned("open"), expected=1)),
            (IllegalTransitionError, partial(persister.append, DOORS, "2", Turned("closed"), expected=0)),
            (UnknownEventError, partial(persister.append, DOORS, "1", Added("x"), expected=1)),
            (DocumentTooLargeError, partial(persister.append, "plain", Event("big", state=too_large), expected=0)),
            (EncodingError, partial(persister.append, "plain", Event("nan", state=float("nan")), expected=0)),
            (InvalidInputError, partial(persister.append, DOORS, "1", expected=1)),
            (ZeroDivisionError, partial(persister.execute, DOORS, "1", _fails)),
        ]
        for kind, call in refused:
            with raises(kind):
                await call()
            assert await everything(store) == before, f"{kind.__name__}, and yet something was written"

    @case
    async def test_recorded_states_and_typed_events_take_the_same_rules(self) -> None:
        persister = self.persister()
        saved = await persister.save_state("doc", {"a": 1}, expected=0)
        updated = await persister.update_state("doc", {"a": 2}, expected=saved)
        with raises(VersionConflictError):
            await persister.update_state("doc", {"a": 3}, expected=saved)
        with raises(VersionConflictError):
            await persister.save_state("doc", {"a": 3}, expected=0)
        with raises(StateNotFoundError):
            await persister.update_state("nobody", {"a": 3}, expected=ANY)
        assert (await persister.get_state("doc")).data == {"a": 2}
        assert updated.version == 2

    @case
    async def test_a_returned_state_is_the_callers_own(self) -> None:
        """Changing it changes nothing stored and nothing that is appended next."""
        persister = self.persister()
        saved = await persister.save_state("doc", {"items": [1]}, expected=0)
        saved.data["items"].append("mine")
        await persister.append("doc", Event("noted", state={"items": [2]}), expected=saved)
        loaded = await persister.load("doc")
        loaded.data["items"].append("mine")
        assert (await persister.load("doc")).data == {"items": [2]}
        assert (await persister.load("doc", at_version=1)).data == {"items": [1]}

    @case
    async def test_timestamps_never_go_back_though_the_clock_does(self) -> None:
        runtime = self.world.steered()
        persister = self.persister(FaultyStore(self.open(), runtime=runtime))
        for number in range(6):
            runtime.shift = -number * 3_600_000_000
            await persister.append(TALLIES, "1", Added(str(number)), expected=number)
        times = [step.timestamp for step in await persister.history(TALLIES, "1")]
        assert times == sorted(times)
        assert (await persister.load(TALLIES, "1")).timestamp == times[-1]
        await self.consistent(persister)

    # Several streams

    @case
    async def test_several_streams_are_appended_to_together_or_not_at_all(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await persister.append(TALLIES, "2", Added("before"), expected=0)
        before = await everything(store)
        for wrong in range(3):
            appends = [
                AppendTo(TALLIES, str(number), Added("x"), expected=(7 if number == wrong else int(number == 2)))
                for number in (0, 1, 2)
            ]
            with raises(VersionConflictError) as caught:
                await persister.append_together(*appends)
            assert caught.error.stream == f"tally-{wrong}"
            assert await everything(store) == before
        written = await persister.append_together(
            AppendTo(TALLIES, "0", Added("x"), expected=0),
            AppendTo("tally-2", Added("x"), Added("y"), expected=1),
            AppendTo("doc", Event("noted", state=[1]), expected=ANY),
        )
        assert [(state.id, state.version) for state in written] == [("tally-0", 1), ("tally-2", 3), ("doc", 1)]
        assert len({state.position for state in written}) == 1
        assert await self.marks(persister, "2") == ["before", "x", "y"]
        await self.consistent(persister)

    @case
    async def test_one_stream_twice_in_one_call_is_refused_as_input(self) -> None:
        persister = self.persister()
        with raises(InvalidInputError):
            await persister.append_together(
                AppendTo(TALLIES, "1", Added("x"), expected=0), AppendTo(TALLIES, "1", Added("y"), expected=1)
            )
        assert not await persister.exists(TALLIES, "1")


class RaceCases(PersisterSuite):
    """Appends at the same time."""

    async def _race(self, calls: list[Any]) -> list[Any]:
        return await self.world.settled(calls)

    def _persisters(self) -> list[Face]:
        stores = self.open(), self.open(apart=True)
        return [self.persister(stores[number % 2]) for number in range(self.writers)]

    @case
    async def test_of_several_from_one_tip_exactly_one_wins(self) -> None:
        persisters = self._persisters()
        marks: list[str] = []
        for round in range(self.rounds):
            for persister in persisters[::3]:
                if round:
                    await persister.load(TALLIES, "1")  # some are warm, some remember an old tip
            names = [f"{round}.{number}" for number in range(len(persisters))]
            outcomes = await self._race(
                [
                    partial(persister.append, TALLIES, "1", Added(name), expected=round)
                    for persister, name in zip(persisters, names, strict=True)
                ]
            )
            won = [
                name for name, outcome in zip(names, outcomes, strict=True) if not isinstance(outcome, BaseException)
            ]
            lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            assert len(won) == 1, f"{won} won, others: {lost}"
            assert all(isinstance(error, VersionConflictError) for error in lost), lost
            assert all(error.actual == round + 1 for error in lost if isinstance(error, VersionConflictError))
            marks += won
        assert await self.marks(persisters[0]) == marks
        await self.consistent(persisters[0])

    @case
    async def test_appends_to_any_version_all_land_once(self) -> None:
        persisters = self._persisters()

        async def write(number: int) -> list[int]:
            return [
                (await persisters[number].append(TALLIES, "1", Added(f"{number}.{k}"), expected=ANY)).version
                for k in range(3)
            ]

        versions = await self.together([partial(write, number) for number in range(len(persisters))])
        assert sorted(version for part in versions for version in part) == list(range(1, 3 * len(persisters) + 1))
        marks = await self.marks(persisters[0])
        assert sorted(marks) == sorted(f"{number}.{k}" for number in range(len(persisters)) for k in range(3))
        assert all(
            marks[version - 1] == f"{n}.{k}" for n, part in enumerate(versions) for k, version in enumerate(part)
        )

    @case
    async def test_one_persister_serves_all_at_once(self) -> None:
        persister = self.persister()

        async def write(number: int) -> None:
            for turn in range(4):
                await persister.append(TALLIES, "1", Added(f"{number}.{turn}"), expected=ANY)
                own = await persister.append(TALLIES, f"own {number}", Added(str(turn)), expected=turn)
                assert own.version == turn + 1
                await persister.load(TALLIES, "1")

        await self.together([partial(write, number) for number in range(self.writers)])
        marks = await self.marks(persister)
        assert sorted(marks) == sorted(f"{number}.{turn}" for number in range(self.writers) for turn in range(4))
        await self.consistent(persister)

    @case
    async def test_decisions_are_made_from_the_state_they_are_appended_to(self) -> None:
        """Each adds as much as it sees: the total doubles each time only if nobody slips in between."""
        persisters = self._persisters()
        await persisters[0].append(TALLIES, "1", Added("start", 1), expected=0)

        def grow(tally: Any, mark: str) -> Added:
            return Added(mark, tally.total)

        await self.together(
            [partial(persister.execute, TALLIES, "1", grow, str(n)) for n, persister in enumerate(persisters)]
        )
        assert (await persisters[0].load(TALLIES, "1")).data.total == 2 ** len(persisters)

    @case
    async def test_of_appends_to_overlapping_pairs_of_streams_one_wins(self) -> None:
        persisters = self._persisters()[:3]
        pairs = [("a", "b"), ("b", "c"), ("c", "a")]
        for round in range(self.rounds):
            outcomes = await self._race(
                [
                    partial(
                        persister.append_together,
                        *(AppendTo(TALLIES, f"{id}{round}", Added(str(n)), expected=0) for id in pair),
                    )
                    for n, (persister, pair) in enumerate(zip(persisters, pairs, strict=True))
                ]
            )
            won = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
            assert len(won) == 1, outcomes
            for id in "abc":
                expected = id in pairs[won[0]]
                assert await persisters[0].exists(TALLIES, f"{id}{round}") == expected

    @case
    async def test_of_a_deletion_and_an_append_from_one_tip_one_wins(self) -> None:
        first, second = self._persisters()[:2]
        for round in range(self.rounds):
            id = str(round)
            tip = await first.append(TALLIES, id, Added("a"), expected=0)
            outcomes = await self._race(
                [
                    partial(first.delete_state, TALLIES, id, expected=tip),
                    partial(second.append, TALLIES, id, Added("b"), expected=1),
                ]
            )
            assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1, outcomes
            assert await first.exists(TALLIES, id) == isinstance(outcomes[0], BaseException)


def _fails(_state: Any) -> None:
    raise ZeroDivisionError
