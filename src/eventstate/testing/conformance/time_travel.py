"""What time travel promises: differences, forks that stand on their own, replays held against what was recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from eventstate.core.delta import apply
from eventstate.core.documents import PIN
from eventstate.core.pins import decode_pin
from eventstate.errors import (
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
    VersionConflictError,
    VersionNotFoundError,
)
from eventstate.log.replaying import ReplayReport
from eventstate.machines.async_time_travel import AsyncTimeTravel
from eventstate.machines.comparing import At
from eventstate.machines.events import Event
from eventstate.machines.machine import Machine
from eventstate.machines.time_travel import TimeTravel
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import (
    DOORS,
    GOVERNOR,
    TALLIES,
    Added,
    Doubled,
    Face,
    PersisterSuite,
    Tally,
    Turned,
    everything,
    evolve,
    replace,
    tally_of,
)
from eventstate.testing.conformance.suite import case, raises

DAY: Final = datetime(2024, 5, 17, tzinfo=UTC)


def forgetful(tally: Tally, event: Added | Doubled) -> Tally:
    """Today's code as somebody broke it: the fifth mark and later ones count for nothing."""
    after = evolve(tally, event)
    return after if len(after.marks) < 5 else Tally(tally.total, after.marks)


def refusing(tally: Tally, event: Added | Doubled) -> Tally:
    """Today's code as somebody broke it: it can't double any more."""
    if isinstance(event, Doubled):
        raise LookupError("doubling is gone")
    return evolve(tally, event)


def idle(tally: Tally, _event: Added | Doubled) -> Tally:
    """Today's code as somebody broke it: nothing happens."""
    return tally


class TimeTravelSuite(PersisterSuite):
    """A suite whose cases work through time travel as well."""

    def travel(self, store: Store, machines: Any = (TALLIES, DOORS)) -> Face:
        face = TimeTravel if self.world.name == "sync" else AsyncTimeTravel
        return Face(cast("Any", face(store, governor=GOVERNOR, machines=machines)))

    async def filled(self, persister: Face, id: str = "1", count: int = 9) -> list[Added | Doubled]:
        """A tally of single events, the seventh of which doubles; the events."""
        events: list[Added | Doubled] = [Doubled("6") if n == 6 else Added(f"{n}", n + 1) for n in range(count)]
        for version, event in enumerate(events):
            moment = DAY + timedelta(hours=version)
            await persister.append(TALLIES, id, event, expected=version, occurred_at=moment)
        return events


class DiffCases(TimeTravelSuite):
    """Differences between states."""

    @case
    async def test_two_versions_times_and_streams_are_compared(self) -> None:
        store = self.open()
        persister, travel = self.persister(store, snapshot_every=3), self.travel(store)
        await self.filled(persister)
        await self.filled(persister, "2", 4)
        found = await travel.diff(At(TALLIES, "1", version=3), At("tally-1", version=5))
        assert (found.before.data.total, found.after.data.total) == (6, 15)
        assert [tuple(change) for change in found.changes] == [
            ("$.total", "changed", 6, 15),
            ("$.marks[3]", "added", None, "3"),
            ("$.marks[4]", "added", None, "4"),
        ]
        before, after = {"total": 6, "marks": ["0", "1", "2"]}, {"total": 15, "marks": ["0", "1", "2", "3", "4"]}
        assert apply(found.delta, before) == after
        by_time = await travel.diff(
            At("tally-1", time=DAY + timedelta(hours=2)), At("tally-1", time=DAY + timedelta(hours=4))
        )
        assert by_time.delta == found.delta
        streams = await travel.diff("tally-2", At(TALLIES, "1", version=4))
        assert streams.is_same
        assert (streams.delta, list(streams.changes)) == ({}, [])
        since_the_beginning = await travel.diff(At(TALLIES, "1", version=0), At(TALLIES, "1", version=1))
        assert [change.path for change in since_the_beginning.changes] == ["$.total", "$.marks[0]"]
        loaded = await persister.load(TALLIES, "1")
        assert (await travel.diff(loaded, "tally-1")).is_same

    @case
    async def test_a_difference_is_exact(self) -> None:
        store = self.open()
        persister, travel = self.persister(store), self.travel(store)
        states = [{"a": 1, "b": [1, 2, 3]}, {"a": 1.0, "b": [1, 3]}, {"b": [1, 3], "a": True, "c d": None}]
        for version, state in enumerate(states):
            await persister.save_state("doc", state, expected=version)
        first = await travel.diff(At("doc", version=1), At("doc", version=2))
        assert [tuple(change) for change in first.changes] == [
            ("$.a", "changed", 1, 1.0),
            ("$.b[1]", "removed", 2, None),
        ]
        second = await travel.diff(At("doc", version=2), At("doc"))
        assert [tuple(change) for change in second.changes] == [
            ("$.a", "changed", 1.0, True),
            ("$['c d']", "added", None, None),
        ]
        await persister.save_state("doc", {"b": [1, 3.0], "a": True, "c d": None}, expected=3)
        third = await travel.diff(At("doc", version=3), At("doc"))
        assert [tuple(change) for change in third.changes] == [("$.b[1]", "changed", 3, 3.0)]

    @case
    async def test_what_does_not_exist_can_t_be_compared(self) -> None:
        store = self.open()
        persister, travel = self.persister(store), self.travel(store)
        await persister.save_state("doc", 1, expected=0)
        await persister.delete_state("doc", expected=1)
        with raises(StateNotFoundError):
            await travel.diff(At("doc", version=1), "none")
        with raises(StateDeletedError):
            await travel.diff(At("doc", version=1), At("doc", version=2))
        with raises(VersionNotFoundError):
            await travel.diff(At("doc", version=1), At("doc", version=3))
        with raises(InvalidInputError):
            await travel.diff(At("doc", version=1, time=DAY), At("doc"))
        with raises(InvalidInputError):
            await travel.diff(7, "doc")


class ForkCases(TimeTravelSuite):
    """Forks."""

    @case
    async def test_a_fork_begins_as_its_parent_was_and_goes_its_own_way(self) -> None:
        store = self.open()
        persister, travel = self.persister(store, snapshot_every=4), self.travel(store)
        events = await self.filled(persister)
        before = await everything(store)
        fork = await travel.fork(TALLIES, "1", to="what-if", at_version=5, changed_by="kim", reason="what if")
        assert (fork.id, fork.version, fork.action, fork.data) == ("tally-what-if", 1, "$forked", tally_of(events[:5]))
        assert (fork.metadata.changed_by, fork.metadata.reason) == ("kim", "what if")
        after = await everything(store)
        assert {key: after[key] for key in before} == before, "the parent was touched"
        await persister.append(TALLIES, "what-if", Added("x", 100), Doubled("y"), expected=fork)
        await persister.append(TALLIES, "1", Added("z", 1), expected=9)
        expected = tally_of([*events[:5], Added("x", 100), Doubled("y")])
        for reader in (persister, self.persister(store)):
            assert (await reader.load(TALLIES, "what-if")).data == expected
            assert (await reader.load(TALLIES, "what-if", at_version=1)).data == tally_of(events[:5])
            assert (await reader.rebuild(TALLIES, "what-if", full=True)).data == expected
            assert (await reader.load(TALLIES, "1")).data == tally_of([*events, Added("z", 1)])
        await self.consistent(persister)

    @case
    async def test_a_fork_is_of_now_or_of_a_time_or_of_a_plain_state(self) -> None:
        store = self.open()
        persister, travel = self.persister(store), self.travel(store)
        events = await self.filled(persister)
        assert (await travel.fork(TALLIES, "1", to="2")).data == tally_of(events)
        by_time = await travel.fork("tally-1", to="tally-3", at_time=DAY + timedelta(hours=1, minutes=1))
        assert by_time.data == tally_of(events[:2])
        big = {"text": "x" * 100_000}
        await persister.save_state("doc", {"a": 1}, expected=0)
        await persister.update_state("doc", big, expected=1)
        assert (await travel.fork("doc", to="small", at_version=1)).data == {"a": 1}
        assert (await travel.fork("doc", to="large")).data == big
        assert (await persister.update_state("large", {"a": 2}, expected=1)).version == 2
        assert (await persister.load("large", at_version=1)).data == big
        await self.consistent(persister)

    @case
    async def test_a_fork_knows_its_parents_and_a_parent_its_forks(self) -> None:
        store = self.open()
        persister, travel = self.persister(store), self.travel(store)
        await self.filled(persister)
        await travel.fork(TALLIES, "1", to="2", at_version=4)
        await persister.append(TALLIES, "2", Added("a"), Added("b"), expected=1)
        await travel.fork(TALLIES, "2", to="3", at_version=2)
        await travel.fork(TALLIES, "1", to="4")
        lineage = await travel.lineage(TALLIES, "3")
        assert [(o.governor, o.state_id, o.version) for o in lineage] == [
            (GOVERNOR, "tally-2", 2),
            (GOVERNOR, "tally-1", 4),
        ]
        assert await travel.lineage(TALLIES, "1") == []
        assert [(f.state_id, f.version) for f in await travel.forks(TALLIES, "1")] == [("tally-2", 4), ("tally-4", 9)]
        assert [f.state_id for f in await travel.forks()] == ["tally-2", "tally-3", "tally-4"]
        told = [(step.state_id, step.version, step.action) for step in await travel.history(TALLIES, "3")]
        assert told == [
            *(("tally-1", version, "Added") for version in range(1, 5)),
            ("tally-2", 1, "$forked"),
            ("tally-2", 2, "Added"),
            ("tally-3", 1, "$forked"),
        ]
        steps = await persister.history(TALLIES, "3")
        assert steps[0].data == {"governor": GOVERNOR, "id": "tally-2", "version": 2, "fold": 1}
        with raises(StateNotFoundError):
            await travel.lineage(TALLIES, "none")

    @case
    async def test_a_fork_pins_its_parent_until_it_is_released(self) -> None:
        store = self.open()
        persister, travel = self.persister(store), self.travel(store)
        await self.filled(persister)
        await travel.fork(TALLIES, "1", to="2", at_version=4)
        assert await _pinned(store) == ["tally-1"]
        assert await travel.release_fork(TALLIES, "2")
        assert not await travel.release_fork(TALLIES, "2")
        assert await _pinned(store) == []
        assert [o.state_id for o in await travel.lineage(TALLIES, "2")] == ["tally-1"]
        assert await travel.forks(TALLIES, "1") == []

    @case
    async def test_what_can_t_be_forked_writes_nothing(self) -> None:
        store = self.open()
        persister, travel = self.persister(store), self.travel(store)
        await self.filled(persister)
        await persister.append(DOORS, "1", Turned("open"), expected=0)
        await persister.save_state("gone", 1, expected=0)
        await persister.delete_state("gone", expected=1)
        before = await everything(store)
        await travel.fork(DOORS, "1", to="1b")
        with raises(VersionConflictError):
            await travel.fork(DOORS, "1", to="1b")
        with raises(InvalidInputError):
            await travel.fork(TALLIES, "1", to="1")
        with raises(InvalidInputError):
            await travel.fork("tally-1", to="door-2")
        with raises(StateDeletedError):
            await travel.fork("gone", to="back")
        with raises(StateNotFoundError):
            await travel.fork("none", to="some")
        with raises(VersionNotFoundError):
            await travel.fork(TALLIES, "1", to="2", at_version=10)
        after = await everything(store)
        assert {key.id for key in after.keys() - before.keys()} == {"door-1b"}
        assert await _pinned(store) == ["door-1"]
        assert (await travel.fork("gone", to="back", at_version=1)).data == 1

    @case
    async def test_a_repeated_fork_is_one(self) -> None:
        store = self.open()
        persister, travel = self.persister(store), self.travel(store)
        await self.filled(persister)
        first = await travel.fork(TALLIES, "1", to="2", at_version=3, idempotency_key="fork")
        await persister.append(TALLIES, "2", Added("more"), expected=1)
        again = await self.travel(store).fork(TALLIES, "1", to="2", at_version=3, idempotency_key="fork")
        assert (again.version, again.data) == (first.version, first.data)

    @case
    async def test_one_of_several_forks_to_one_id_is_made(self) -> None:
        store = self.open()
        await self.filled(self.persister(store))
        travels = [self.travel(store) for _ in range(self.writers)]

        async def fork(index: int) -> bool:
            try:
                await travels[index].fork(TALLIES, "1", to="2", at_version=index + 1)
            except VersionConflictError:
                return False
            return True

        made = await self.together([lambda i=i: fork(i) for i in range(self.writers)])
        assert sum(made) == 1
        (origin,) = await travels[0].lineage(TALLIES, "2")
        assert origin.version == made.index(True) + 1
        (told,) = await travels[0].forks(TALLIES, "1")
        assert told.version == origin.version


class ReplayCases(TimeTravelSuite):
    """Today's code against recorded histories."""

    async def checked(self, store: Store, *machines: Machine[Any, Any], **options: Any) -> ReplayReport:
        return await self.travel(store, machines).replay_check(**options)

    @case
    async def test_unchanged_code_comes_to_what_was_recorded(self) -> None:
        store = self.open()
        persister, travel = self.persister(store, snapshot_every=2), self.travel(store)
        for id in ("1", "2", "3"):
            await self.filled(persister, id)
        await persister.append(DOORS, "1", Turned("open"), Turned("closed"), expected=0)
        await persister.save_state("doc", {"a": 1}, expected=0)
        await persister.update_state("doc", {"a": 2}, expected=1)
        await persister.delete_state(TALLIES, "3", expected=9)
        await persister.append(TALLIES, "3", Added("again"), expected=10, reopen=True)
        await travel.fork(TALLIES, "1", to="4", at_version=4)
        before = await everything(store)
        report = await self.checked(store, TALLIES, DOORS, judge_transitions=True)
        assert report.is_same, report.divergences
        assert report.is_finished
        assert (report.streams, report.events, report.incomparable) == (6, 9 + 9 + 12 + 2 + 2 + 1, 0)
        assert report.compared >= 6 + 3 * 4
        assert await everything(store) == before, "a check writes nothing"

    @case
    async def test_changed_code_is_named_at_every_version_that_was_recorded(self) -> None:
        store = self.open()
        await self.filled(self.persister(store, snapshot_every=2))
        report = await self.checked(store, Machine("tally", Tally(), forgetful))
        found = [(d.version, d.recorded_in, d.kind) for d in report.divergences]
        assert found == [(6, "snapshot", "differs"), (8, "snapshot", "differs"), (9, "head", "differs")]
        first = report.divergences[0]
        assert [tuple(change) for change in first.changes] == [("$.total", "changed", 21, 10)]
        assert not first.is_declared
        assert (report.total_divergences, report.declared, report.compared) == (3, 0, 5)
        raised = await self.checked(store, Machine("tally", Tally(), forgetful, fold_version=2))
        assert (raised.total_divergences, raised.declared) == (3, 3)
        assert all(d.is_declared and (d.recorded_fold, d.fold) == (1, 2) for d in raised.divergences)

    @case
    async def test_events_that_can_t_be_folded_any_more_are_named(self) -> None:
        store = self.open()
        await self.filled(self.persister(store, snapshot_every=8))
        report = await self.checked(store, Machine("tally", Tally(), refusing))
        (failure,) = report.divergences
        assert (failure.version, failure.kind) == (7, "fails")
        assert "LookupError: doubling is gone" in failure.problem
        assert report.compared == 1, "it goes on from the next snapshot, and reaches the head"
        narrow = await self.checked(store, Machine("tally", Tally(), evolve, events=[Added]))
        assert [(d.version, d.kind) for d in narrow.divergences] == [(7, "fails")]

    @case
    async def test_events_that_today_s_declaration_refuses_are_named_where_asked(self) -> None:
        store = self.open()
        await self.persister(store).append(DOORS, "1", Turned("open"), Turned("closed"), expected=0)
        strict: Machine[Any, Any] = Machine(
            "door", DOORS.initial(), _turned, state_of="is_open", transitions=[("closed", "Turned", "open")]
        )
        assert (await self.checked(store, strict)).is_same
        report = await self.checked(store, strict, judge_transitions=True)
        assert [(d.version, d.kind) for d in report.divergences] == [(2, "illegal")]

    @case
    async def test_states_recorded_beside_data_are_the_truth_for_a_machine_that_comes_later(self) -> None:
        store = self.open()
        plain = self.persister(store, machines=[])
        for version in range(4):
            state = {"total": version + 1 + (version == 2), "marks": [f"{n}" for n in range(version + 1)]}
            event = Event("Added", {"mark": f"{version}", "amount": 1}, state=state)
            await plain.append("tally-1", event, expected=version)
        report = await self.checked(store, TALLIES)
        found = [(d.version, d.recorded_in) for d in report.divergences]
        assert found == [(3, "event")], report.divergences

    @case
    async def test_a_check_goes_on_where_it_was_stopped(self) -> None:
        store = self.open()
        persister = self.persister(store)
        for id in range(45):
            await persister.append(TALLIES, f"{id:02}", Added("a"), expected=0)
        broken: Machine[Any, Any] = Machine("tally", Tally(), idle, events=[Added, Doubled])

        class StoppedError(Exception):
            pass

        seen: list[ReplayReport] = []

        def stop(report: ReplayReport) -> None:
            seen.append(report)
            raise StoppedError

        with raises(StoppedError):
            await self.checked(store, broken, progress=stop)
        assert seen[0].streams < 45
        report = await self.checked(store, broken, resume=seen[0], keep=3)
        assert (report.streams, report.total_divergences, report.is_finished) == (45, 45, True)
        few = await self.checked(store, broken, keep=3, prefix="tally-1")
        assert (few.streams, few.total_divergences, len(few.divergences)) == (10, 10, 3)

    @case
    async def test_without_their_machine_typed_streams_are_counted_apart(self) -> None:
        store = self.open()
        await self.filled(self.persister(store))
        await self.persister(store).save_state("doc", 1, expected=0)
        report = await self.checked(store)
        assert (report.streams, report.without_machine, report.compared, report.is_same) == (2, 1, 1, True)

    @case
    async def test_a_damaged_log_is_told_apart_from_changed_code(self) -> None:
        store = self.open()
        await self.filled(self.persister(store))
        (key,) = [key for key in await everything(store) if key.kind == "entry" and key.n == 4]
        document = (await store.get([key])).documents[key]
        await replace(store, key, document.body.replace(b'"amount":4', b'"amount":5'))
        report = await self.checked(store, TALLIES)
        assert [(d.version, d.kind) for d in report.divergences] == [(4, "corrupt")]


async def _pinned(store: Store) -> list[str | None]:
    """The streams that have a pin."""
    pins = map(decode_pin, (await store.scan(PIN, GOVERNOR)).documents)
    return [pin.state_id for pin in pins if pin is not None]


def _turned(_door: Any, event: Turned) -> Any:
    return type(DOORS.initial())(event.to)


__all__ = ["DiffCases", "ForkCases", "ReplayCases"]
