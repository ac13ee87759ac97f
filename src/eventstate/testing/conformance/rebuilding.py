"""What a persister promises about reading: every version, every time, every transition, every list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from eventstate.core.documents import SNAPSHOT
from eventstate.core.expected import ANY
from eventstate.core.metadata import ChangeMetadata
from eventstate.errors import (
    InvalidInputError,
    StateNotFoundError,
    VersionConflictError,
    VersionNotFoundError,
)
from eventstate.machines.events import Event
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot
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
    evolve,
    stored,
    tally_of,
)
from eventstate.testing.conformance.persisters import head_key as head
from eventstate.testing.conformance.suite import case, raises, remove
from eventstate.testing.faults import FaultyStore

COMMITS: Final = (1, 3, 1, 2, 4, 1, 1, 2)
"""Events per commit: entries of several sizes, so that snapshots fall on and between multiples."""
DAY: Final = datetime(2024, 5, 17, tzinfo=UTC)


async def filled(persister: Face, id: str = "1") -> list[Added | Doubled]:
    """A tally with the events of `COMMITS`; the events."""
    events: list[Added | Doubled] = []
    for size in COMMITS:
        start = len(events)
        batch = [Doubled(f"{n}") if n % 4 == 3 else Added(f"{n}", n) for n in range(start, start + size)]
        await persister.append(TALLIES, id, *batch, expected=start, changed_by="kim")
        events += batch
    return events


class RebuildCases(PersisterSuite):
    """States at versions: from heads, from snapshots, from nothing but events."""

    @case
    async def test_a_load_is_snapshot_plus_tail_is_full_replay_at_every_version(self) -> None:
        store = self.open()
        for every, keep in ((0, 1), (1, 2), (2, 5), (3, 1), (5, 3), (100, 5)):
            id = f"{every}.{keep}"
            writer = self.persister(store, snapshot_every=every, keep_snapshots=keep)
            events = await filled(writer, id)
            for reader in (writer, self.persister(store)):
                for version in range(1, len(events) + 1):
                    state = await reader.load(TALLIES, id, at_version=version)
                    assert (state.version, state.data) == (version, tally_of(events[:version])), f"{id} at {version}"
                    assert state.action == type(events[version - 1]).__name__
                assert (await reader.load(TALLIES, id)).data == tally_of(events)
                assert (await reader.rebuild(TALLIES, id)).data == tally_of(events)
                assert (await reader.rebuild(TALLIES, id, full=True)).data == tally_of(events)
            kept = [document.key.n for document in (await store.scan(SNAPSHOT, GOVERNOR, id=f"tally-{id}")).documents]
            assert len(kept) <= keep
            assert bool(kept) == (0 < every < len(events)), kept
            await self.consistent(writer)

    @case
    async def test_a_snapshot_can_go_missing(self) -> None:
        store = self.open()
        persister = self.persister(store, snapshot_every=4, keep_snapshots=9)
        events = await filled(persister)
        snapshots = (await store.scan(SNAPSHOT, GOVERNOR, id="tally-1")).documents
        for document in reversed(snapshots):
            await remove(store, document.key)
            for version in range(1, len(events) + 1):
                state = await self.persister(store).load(TALLIES, "1", at_version=version)
                assert state.data == tally_of(events[:version]), f"version {version} without {document.key}"

    @case
    async def test_snapshots_are_made_by_hand_too(self) -> None:
        store = self.open()
        persister = self.persister(store, snapshot_every=0, keep_snapshots=2)
        await persister.append(TALLIES, "1", Added("a"), expected=0)
        for version, mark in enumerate("bcd", 1):
            assert await persister.create_snapshot(TALLIES, "1") == version
            snapshot = await persister.load_snapshot(TALLIES, "1")
            assert (snapshot.version, snapshot.data.marks) == (version, tuple("abcd"[:version]))
            tip = await persister.append(TALLIES, "1", Added(mark), expected=version)
            assert tip.version == version + 1, "a snapshot changed the version"
        assert await persister.load_snapshot(TALLIES, "1", at_version=1) is None, "more are kept than asked for"
        assert (await persister.load_snapshot(TALLIES, "1", at_version=2)).version == 2
        with raises(StateNotFoundError):
            await persister.create_snapshot(TALLIES, "nobody")
        await self.consistent(persister)

    @case
    async def test_a_version_that_is_not_there_is_told(self) -> None:
        persister = self.persister()
        await filled(persister)
        for beyond in (16, 17, 10**9):
            with raises(VersionNotFoundError) as caught:
                await persister.load(TALLIES, "1", at_version=beyond)
            assert (caught.error.first, caught.error.last) == (1, 15)
        for wrong in (0, -1, True, 1.5, "1"):
            with raises(InvalidInputError):
                await persister.load(TALLIES, "1", at_version=wrong)
        with raises(StateNotFoundError):
            await persister.load(TALLIES, "nobody", at_version=1)

    @case
    async def test_a_state_too_large_for_its_head_is_the_same(self) -> None:
        store = self.open()
        persister = self.persister(store, snapshot_every=3)
        large = "x" * 70_000
        saved = await persister.save_state("doc", {"n": 0, "large": large}, expected=0)
        for number in range(1, 6):
            saved = await persister.update_state("doc", {"n": number, "large": large}, expected=saved)
            assert len((await stored(store, head("doc"))).body) < 70_000, "the head holds it all the same"
            for reader in (persister, self.persister(store)):
                assert (await reader.load("doc")).data == {"n": number, "large": large}
        for version in range(1, 7):
            assert (await persister.load("doc", at_version=version)).data["n"] == version - 1
        await self.consistent(persister)

    @case
    async def test_another_fold_version_rebuilds_instead_of_trusting(self) -> None:
        """Heads and snapshots made by older rules are passed over; the events are what counts."""
        store = self.open()
        old = self.persister(store, snapshot_every=2)
        events = await filled(old)

        def count_twice(tally: Tally, event: Added | Doubled) -> Tally:
            after = evolve(tally, event)
            return Tally(after.total + 1000, after.marks)

        newer: Machine[Tally, Any] = Machine("tally", Tally(), count_twice, events=[Added, Doubled], fold_version=2)
        wanted = Tally()
        for event in events:
            wanted = count_twice(wanted, event)
        new = self.persister(store, snapshot_every=2, machines=[newer])
        assert (await new.load(newer, "1")).data == wanted
        assert (await new.append(newer, "1", Added("x"), expected=15)).data == count_twice(wanted, Added("x"))
        assert (await self.persister(store).load(TALLIES, "1")).data == tally_of([*events, Added("x")])


class HistoryCases(PersisterSuite):
    """Transitions, with the states around them."""

    @case
    async def test_history_tells_every_event_with_its_states(self) -> None:
        store = self.open()
        for every in (0, 4):
            persister = self.persister(store, snapshot_every=every)
            events = await filled(persister, str(every))
            for first in range(1, len(events) + 1):
                for last in (first, first + 1, len(events), None):
                    steps = await persister.history(TALLIES, str(every), from_version=first, to_version=last)
                    end = min(last or len(events), len(events))
                    assert [step.version for step in steps] == list(range(first, end + 1))
                    for step in steps:
                        assert step.data == events[step.version - 1]
                        before = tally_of(events[: step.version - 1]) if step.version > 1 else None
                        assert (step.from_state, step.to_state) == (before, tally_of(events[: step.version]))

    @case
    async def test_metadata_comes_back(self) -> None:
        persister = self.persister()
        facts: dict[str, Any] = {
            "changed_by": "kim",
            "reason": "they asked",
            "context": {"ip": "127.0.0.1", "n": [1, 2]},
            "correlation_id": "request 1",
            "causation_id": "message 2",
            "occurred_at": DAY,
        }
        await persister.append(TALLIES, "1", Added("a"), Added("b"), expected=0, **facts)
        await persister.append(TALLIES, "1", Added("c"), expected=2)
        for step in (await persister.history(TALLIES, "1"))[:2]:
            assert {name: getattr(step.metadata, name) for name in facts} == facts
            assert (step.occurred_at, step.effective_at) == (DAY, DAY)
            assert step.metadata.parent_version == step.version - 1
        last = (await persister.history(TALLIES, "1"))[2]
        assert (last.metadata.changed_by, last.effective_at) == (None, last.timestamp)

    @case
    async def test_an_events_own_metadata_goes_before_the_calls(self) -> None:
        store = self.open()
        persister = self.persister(store)
        own = ChangeMetadata(changed_by="robin")
        events = (Added("a"), Event("Added", Added("b"), metadata=own))
        written = await persister.append(TALLIES, "1", *events, expected=0, changed_by="kim", reason="asked")
        steps = await persister.history(TALLIES, "1")
        assert [step.metadata.changed_by for step in steps] == ["kim", "robin"]
        assert [step.metadata.reason for step in steps] == ["asked", "asked"]
        for state in (
            written,
            await persister.load(TALLIES, "1"),
            await persister.load(TALLIES, "1", at_version=2),
            await self.persister(store).rebuild(TALLIES, "1"),
        ):
            assert (state.metadata.changed_by, state.metadata.reason) == ("robin", "asked")

    @case
    async def test_a_logged_transition_tells_both_states(self) -> None:
        """Only the difference is stored; the states come back whole."""
        store = self.open()
        persister = self.persister(store)
        bulk = "the same in every version " * 100
        state = StateSnapshot[Any].new("job", {"status": "new", "done": [], "bulk": bulk})
        state = await persister.log_transition(None, state, "created", changed_by="kim", reason="asked")
        for number in range(1, 5):
            data = {**state.data, "status": "running", "done": [*state.data["done"], number]}
            state = await persister.log_transition(
                state, StateSnapshot[Any].new("job", data), f"step {number}", changed_by="kim", reason="next"
            )
        steps = await persister.history("job")
        assert [step.action for step in steps] == ["created", "step 1", "step 2", "step 3", "step 4"]
        for step in steps:
            done = list(range(1, step.version))
            assert step.to_state["done"] == done
            before: dict[str, Any] = step.from_state or {}
            assert before.get("done", []) == done[:-1]
            assert step.to_state["bulk"] == bulk
        entries = (await store.scan("entry", GOVERNOR, id="job")).documents
        assert all(len(document.body) < len(bulk) for document in entries[1:]), "whole states are stored"
        with raises(VersionConflictError):
            await persister.log_transition(steps and StateSnapshot(id="job", data=None, version=2), state, "late")
        with raises(InvalidInputError):
            await persister.log_transition(state, StateSnapshot[Any].new("other", {}), "elsewhere")
        await self.consistent(persister)

    @case
    async def test_states_by_time(self) -> None:
        runtime = self.world.steered()
        persister = self.persister(FaultyStore(self.open(), runtime=runtime))
        times: list[datetime] = []
        for number in range(5):
            written = await persister.append(TALLIES, "1", Added(str(number)), expected=number)
            times.append(written.timestamp)
            runtime.shift += 60_000_000
        for version, at in enumerate(times, 1):
            for moment in (at, at + timedelta(seconds=30)):
                assert (await persister.load(TALLIES, "1", at_time=moment)).version == version
            assert (await persister.get_state_at_time("tally-1", at)).version == version
        with raises(VersionNotFoundError):
            await persister.load(TALLIES, "1", at_time=times[0] - timedelta(microseconds=1))
        with raises(InvalidInputError):
            await persister.load(TALLIES, "1", at_time=datetime(2024, 1, 1))  # noqa: DTZ001 - that is the point
        await persister.append(TALLIES, "2", Added("x"), expected=0)
        assert [(state.id, state.version) for state in await persister.states_at(times[2])] == [("tally-1", 3)]
        events = await persister.get_events(times[1], times[3])
        assert [(event.state_id, event.version) for event in events] == [("tally-1", n) for n in (2, 3, 4)]

    @case
    async def test_time_is_when_it_happened_where_that_is_said(self) -> None:
        persister = self.persister()
        for number, day in enumerate((2, 1, 5)):
            moment = DAY + timedelta(days=day)
            await persister.append(TALLIES, "1", Added(str(number)), expected=number, occurred_at=moment)
        for day, version in ((1, 2), (2, 2), (4, 2), (5, 3)):
            state = await persister.load(TALLIES, "1", at_time=DAY + timedelta(days=day))
            assert state.version == version, f"at day {day}"
        with raises(VersionNotFoundError):
            await persister.load(TALLIES, "1", at_time=DAY)


class ListCases(PersisterSuite):
    """Lists, numbers and governors."""

    @case
    async def test_states_are_listed_in_order_page_by_page(self) -> None:
        persister = self.persister()
        ids = ["a", "a-1", "a:1", "a/1", "b", "ä", "..", "%2F", "\U0001f600", "gone"]
        for id in ids:
            await persister.append(TALLIES, id, Added("x"), expected=0)
        await persister.append(DOORS, "1", Turned("open"), expected=0)
        await persister.append(DOORS, "2", Turned("open"), Turned("closed"), expected=0)
        await persister.save_state("doc", [1], expected=0)
        await persister.delete_state(TALLIES, "gone", expected=1)
        tallies = sorted((f"tally-{id}" for id in ids if id != "gone"), key=str.encode)
        wanted = sorted([*tallies, "door-1", "door-2", "doc"], key=str.encode)
        for limit in (1, 2, 3, 100):
            assert await _listed(persister, limit=limit) == wanted
            assert await _listed(persister, limit=limit, machine="tally") == tallies
        assert await _listed(persister, prefix="tally-a") == [id for id in tallies if id.startswith("tally-a")]
        assert await _listed(persister, machine="door", state="open") == ["door-1"]
        assert await _listed(persister, state="closed") == ["door-2"]
        assert await _listed(persister, prefix="nobody") == []
        stats = await persister.get_stats()
        assert (stats.total_states, stats.deleted_states, stats.max_version) == (12, 1, 2)
        assert stats.states_by_machine == {"tally": 10, "door": 2, "": 1}
        assert stats.total_versions == 9 + 2 + 1 + 2 + 1

    @case
    async def test_governors_keep_to_themselves(self) -> None:
        store = self.open()
        names = ["shop", "shop-2", "shop/2", "..", "ä"]
        for name in names:
            await self.persister(store, governor=name).append(TALLIES, "1", Added(name), expected=0)
        for name in names:
            persister = self.persister(store, governor=name)
            assert (await persister.load(TALLIES, "1")).data.marks == (name,)
            assert await _listed(persister) == ["tally-1"]
            await self.consistent(persister)
        assert await self.persister(store).list_governors() == sorted(names, key=str.encode)

    @case
    async def test_recovery_finds_every_state(self) -> None:
        store = self.open()
        persister = self.persister(store)
        await filled(persister, "1")
        await persister.append(DOORS, "1", Turned("open"), expected=0)
        await persister.append("doc", Event("noted", state={"a": 1}), expected=ANY)
        await persister.append(TALLIES, "gone", Added("x"), expected=0)
        await persister.delete_state(TALLIES, "gone", expected=1)
        found = {item.id: item for item in await self.persister(store).recover()}
        assert {id: (item.version, item.status) for id, item in found.items()} == {
            "doc": (1, "current"),
            "door-1": (1, "current"),
            "tally-1": (15, "current"),
            "tally-gone": (2, "deleted"),
        }
        assert found["doc"].data == {"a": 1}
        report = await persister.recover_all()
        assert (report.current, report.rebuilt, report.deleted, report.lost) == (3, 0, 1, 0)


async def _listed(persister: Face, **options: Any) -> list[str]:
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await persister.list_states(after=after, **options)
        found += [state.id for state in page.states]
        after = page.next
    return found
