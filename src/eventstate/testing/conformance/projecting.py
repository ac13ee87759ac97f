"""What projections promise: each event has its effect once, and whoever reads never sees less than before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from typing import Any, cast

from eventstate.core.documents import CURSOR, PROJECTION, Batch, Put
from eventstate.core.expected import ANY
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidIdError,
    InvalidInputError,
    ProjectionNotFoundError,
    ProjectionVersionError,
    StoreUnavailableError,
    TransactionConflictError,
)
from eventstate.machines.async_projection_manager import AsyncProjectionManager
from eventstate.machines.core import PersisterCore
from eventstate.machines.deliveries import Delivery
from eventstate.machines.projecting import Projecting
from eventstate.machines.projection import Projection
from eventstate.machines.projection_manager import ProjectionManager
from eventstate.machines.view_buffer import ViewBuffer
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import (
    DOORS,
    GOVERNOR,
    TALLIES,
    Added,
    Doubled,
    Face,
    PersisterSuite,
    Turned,
    entry_key,
    replace,
    stored,
)
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.faults import UNANSWERED, Fault, FaultyStore

Handler = Callable[[Delivery, Any], Any]


def marks_of(event: Delivery) -> str:
    """What a tally's event adds to the list of its stream."""
    return cast("Added | Doubled", event.event).mark


class ProjectionSuite(PersisterSuite):
    """A suite whose cases work through projections as well."""

    def manager(self, store: Store) -> Face:
        face = ProjectionManager if self.world.name == "sync" else AsyncProjectionManager
        return Face(cast("Any", face(store, governor=GOVERNOR, machines=[TALLIES, DOORS])))

    def counting(self, name: str = "counts", **options: Any) -> Projection:
        """Counts events by action, and keeps the marks of each tally in their order: any doubling shows."""
        options.setdefault("machines", [TALLIES])
        if self.world.name == "sync":

            def count(event: Delivery, view: Any) -> None:
                view.put(event.action, (view.get(event.action) or 0) + 1)
                view.put(event.state_id, [*(view.get(event.state_id) or ()), marks_of(event)])

            return Projection(name, count, **options)

        async def count_async(event: Delivery, view: Any) -> None:
            await view.put(event.action, (await view.get(event.action) or 0) + 1)
            await view.put(event.state_id, [*(await view.get(event.state_id) or ()), marks_of(event)])

        return Projection(name, count_async, **options)

    def failing_at(self, mark: str, **options: Any) -> Projection:
        """The same, but it raises at one event."""
        handler = self.counting().handler

        def check(event: Delivery) -> None:
            if marks_of(event) == mark:
                raise LookupError(mark)

        if self.world.name == "sync":

            def fail(event: Delivery, view: Any) -> None:
                handler(event, view)
                check(event)

            return Projection("counts", fail, machines=[TALLIES], **options)

        async def fail_async(event: Delivery, view: Any) -> None:
            await handler(event, view)
            check(event)

        return Projection("counts", fail_async, machines=[TALLIES], **options)

    async def fill(self, persister: Face, streams: int = 3, count: int = 7) -> dict[str, list[str]]:
        """Some tallies, a door and a plain state; the marks of each tally."""
        marks: dict[str, list[str]] = {}
        for number in range(count):
            for stream in range(streams):
                event = Doubled(f"{number}") if number % 3 == 2 else Added(f"{number}")
                await persister.append(TALLIES, f"{stream}", event, expected=number)
                marks.setdefault(f"tally-{stream}", []).append(event.mark)
        await persister.append(DOORS, "1", Turned("open"), Turned("closed"), expected=ANY)
        await persister.save_state("plain", {"a": 1}, expected=ANY)
        return marks

    async def check_view(self, manager: Face, marks: dict[str, list[str]], name: str = "counts") -> None:
        """Fail unless the documents are what these events come to."""
        found = dict(await manager.list(name))
        assert {id: value for id, value in found.items() if id.startswith("tally-")} == marks
        counted = found.get("Added", 0) + found.get("Doubled", 0)
        assert counted == sum(map(len, marks.values()))
        status = await manager.status(name)
        assert status.events == counted


class ProjectionCases(ProjectionSuite):
    """Projections at work."""

    @case
    async def test_every_event_has_its_effect_once(self) -> None:
        store = self.open()
        persister, manager, counts = self.persister(store), self.manager(store), self.counting()
        marks = await self.fill(persister)
        assert await manager.catch_up(counts) == 21
        await self.check_view(manager, marks)
        assert await manager.catch_up(counts) == 21
        await persister.append(TALLIES, "0", Added("more"), Added("still more"), expected=7)
        marks["tally-0"] += ["more", "still more"]
        assert await self.manager(store).catch_up(counts) == 23
        await self.check_view(manager, marks)
        assert await manager.get("counts", "tally-1") == marks["tally-1"]
        assert await manager.get("counts", "none") is None
        assert [id for id, _ in await manager.list("counts", prefix="tally-")] == sorted(marks)

    @case
    async def test_only_what_is_wanted_is_handled(self) -> None:
        store = self.open()
        persister, manager = self.persister(store), self.manager(store)
        await self.fill(persister)
        assert await manager.catch_up(self.counting("doubles", actions=["Doubled"])) == 6
        assert set(dict(await manager.list("doubles"))) == {"Doubled", "tally-0", "tally-1", "tally-2"}
        other = self.persister(store, governor="other")
        await other.append(TALLIES, "9", Added("elsewhere"), expected=0)
        assert await manager.catch_up(self.counting()) == 21
        assert await manager.get("counts", "tally-9") is None

    @case
    async def test_documents_come_and_go(self) -> None:
        store = self.open()
        persister, manager = self.persister(store), self.manager(store)
        await persister.append(TALLIES, "1", Added("a"), Added("b"), Added("c"), expected=0)
        if self.world.name == "sync":

            def last(event: Delivery, view: Any) -> None:
                mark = marks_of(event)
                view.put(mark, {"version": event.version})
                view.delete(chr(ord(mark) - 1))

            projection = Projection("last", last, machines=["tally"])
        else:

            async def last_async(event: Delivery, view: Any) -> None:
                mark = marks_of(event)
                await view.put(mark, {"version": event.version})
                await view.delete(chr(ord(mark) - 1))

            projection = Projection("last", last_async, machines=["tally"])
        await manager.catch_up(projection)
        assert await manager.list("last") == [("c", {"version": 3})]
        await persister.append(TALLIES, "1", Added("d"), expected=3)
        await manager.catch_up(projection)
        assert await manager.list("last") == [("d", {"version": 4})]

    @case
    async def test_a_handler_that_fails_stops_right_before_its_event(self) -> None:
        store = self.open()
        persister, manager = self.persister(store), self.manager(store)
        events = [Added(f"{n}") for n in range(9)]
        for version, event in enumerate(events):
            await persister.append(TALLIES, "1", event, expected=version)
        with raises(LookupError) as caught:
            await manager.catch_up(self.failing_at("6"))
        assert "projection 'counts' stopped at entry shop/tally-1:7" in caught.error.__notes__
        await self.check_view(manager, {"tally-1": [f"{n}" for n in range(6)]})
        with raises(LookupError):
            await manager.catch_up(self.failing_at("6"))
        await self.check_view(manager, {"tally-1": [f"{n}" for n in range(6)]})
        assert await manager.catch_up(self.counting()) == 9
        await self.check_view(manager, {"tally-1": [f"{n}" for n in range(9)]})

    @case
    async def test_damage_stops_it(self) -> None:
        store = self.open()
        persister, manager = self.persister(store), self.manager(store)
        for version in range(5):
            await persister.append(TALLIES, "1", Added(f"{version}"), expected=version)
        key = entry_key("tally-1", 3)
        sound = (await stored(store, key)).body
        if store.capabilities.feed_order == "store":
            return  # an entry that was put back is at another place there
        await replace(store, key, sound.replace(b'"mark":"2"', b'"mark":"x"'))
        with raises(CorruptionError):
            await manager.catch_up(self.counting())
        await replace(store, key, sound)
        assert await manager.catch_up(self.counting()) == 5

    @case
    async def test_two_that_run_it_do_not_count_twice(self) -> None:
        store = self.open()
        persister = self.persister(store)
        marks = await self.fill(persister, streams=4, count=10)
        managers = [self.manager(self.open(apart=store.capabilities.shared)) for _ in range(3)]
        await self.together([lambda m=manager: m.catch_up(self.counting()) for manager in managers])
        await self.check_view(managers[0], marks)

    @case
    async def test_writers_and_runners_at_once(self) -> None:
        store = self.open()
        manager = self.manager(store)
        is_done = False

        async def write(number: int) -> None:
            nonlocal is_done
            persister = self.persister(store)
            for version in range(self.rounds * 2):
                await persister.append(TALLIES, f"{number}", Added(f"{version}"), expected=version)
            done[number] = True
            is_done = all(done)

        done = [False] * 4
        calls: list[Callable[[], Any]] = [lambda n=number: write(n) for number in range(4)]
        calls.append(lambda: manager.run(self.counting(), stop=lambda: is_done))
        await self.together(calls)
        await manager.catch_up(self.counting())
        await self.check_view(manager, {f"tally-{n}": [f"{v}" for v in range(self.rounds * 2)] for n in range(4)})

    @case
    async def test_lost_answers_count_once(self) -> None:
        store = self.open()
        marks = await self.fill(self.persister(store))
        for number, (fault, place) in enumerate(product(UNANSWERED, range(6))):
            faulty = FaultyStore(store, [*[Fault.NONE] * place, fault], runtime=self.world.steered())
            manager, name = self.manager(cast("Store", faulty)), f"counts{number}"
            try:
                handled = await manager.catch_up(self.counting(name))
            except StoreUnavailableError:
                handled = await manager.catch_up(self.counting(name))
            assert handled == 21
            while faulty.held:
                await faulty.deliver()
            assert await manager.catch_up(self.counting(name)) == 21
            await self.check_view(self.manager(store), marks, name)

    @case
    async def test_what_is_not_there_is_said(self) -> None:
        manager = self.manager(self.open())
        for call in (manager.get("none", "1"), manager.list("none"), manager.status("none"), manager.delete("none")):
            with raises(ProjectionNotFoundError):
                await call
        assert await manager.statuses() == []
        for name in ("", "a/b", "x" * 41, 7):
            with raises(InvalidIdError):
                Projection(cast("Any", name), lambda _event, _view: None)
        with raises(InvalidInputError):
            Projection("a", lambda _event, _view: None, version=0)

    @case
    async def test_how_they_are_doing(self) -> None:
        store = self.open()
        persister, manager = self.persister(store), self.manager(store)
        for name in ("b", "a.x", "a", "a-x"):
            await manager.catch_up(self.counting(name))
        await self.fill(persister, streams=1, count=2)
        statuses = await manager.statuses()
        assert [status.name for status in statuses] == ["a", "a-x", "a.x", "b"]
        assert {(status.version, status.generation, status.events) for status in statuses} == {(1, 1, 0)}
        assert all(status.behind > 0 for status in statuses)
        await manager.catch_up(self.counting("a"))
        status = await manager.status("a")
        assert (status.events, status.behind, status.building) == (2, 0, None)
        assert status.updated_at is not None
        await manager.delete("a")
        assert [status.name for status in await manager.statuses()] == ["a-x", "a.x", "b"]
        assert await _left_of(store, "a") == []
        assert await manager.catch_up(self.counting("a")) == 2


class RebuildingCases(ProjectionSuite):
    """Projections built anew."""

    @case
    async def test_another_version_takes_the_place_of_the_one_before(self) -> None:
        store = self.open()
        persister, manager = self.persister(store), self.manager(store)
        marks = await self.fill(persister)
        old, new = self.counting(), self.counting(version=2, actions=["Added"])
        await manager.catch_up(old)
        with raises(ProjectionVersionError):
            await manager.catch_up(new)
        assert await manager.rebuild(new) == 15
        added = {id: [mark for mark in marks if mark not in ("2", "5")] for id, marks in marks.items()}
        await self.check_view(manager, added)
        status = await manager.status("counts")
        assert (status.version, status.generation, status.building) == (2, 2, None)
        with raises(ProjectionVersionError):
            await manager.catch_up(old)
        with raises(ProjectionVersionError):
            await manager.rebuild(old)
        assert await manager.catch_up(new) == 15
        left = {document.key.id.split("/")[1] for document in await _documents(store) if "/" in document.key.id}
        assert left == {"2"}, "the old generation is still there"
        cursors = (await store.scan(CURSOR, GOVERNOR)).documents
        assert not [document.key.id for document in cursors if "counts.1" in document.key.id]

    @case
    async def test_another_selection_needs_another_version(self) -> None:
        store = self.open()
        manager = self.manager(store)
        await self.fill(self.persister(store))
        await manager.catch_up(self.counting())
        with raises(ConfigurationError):
            await manager.catch_up(self.counting(actions=["Added"]))

    @case
    async def test_a_rebuild_that_was_broken_off_is_gone_on_with(self) -> None:
        store = self.open()
        persister, manager = self.persister(store), self.manager(store)
        marks = await self.fill(persister, streams=1, count=8)
        await manager.catch_up(self.counting())
        with raises(LookupError):
            await manager.rebuild(self.failing_at("5", version=2))
        status = await manager.status("counts")
        assert (status.version, status.building, status.building_version, status.building_events) == (1, 2, 2, 5)
        await self.check_view(manager, marks)
        assert await manager.rebuild(self.counting(version=2)) == 8
        await self.check_view(manager, marks)
        assert (await manager.status("counts")).generation == 2
        with raises(LookupError):
            await manager.rebuild(self.failing_at("5", version=3))
        assert await manager.rebuild(self.counting(version=4)) == 8
        assert (await manager.status("counts")).generation == 4
        await self.check_view(manager, marks)
        numbers = {document.key.id.split("/")[1] for document in await _documents(store) if "/" in document.key.id}
        assert numbers == {"4"}

    @case
    async def test_whoever_reads_never_sees_less_while_it_is_rebuilt(self) -> None:
        store = self.open()
        await self.manager(store).catch_up(self.counting())
        count, writers = self.rounds * 2, 4
        done = [False] * (writers + 1)
        seen: list[int] = []

        async def write(number: int) -> None:
            persister = self.persister(store)
            for version in range(count):
                await persister.append(TALLIES, f"{number}", Added(f"{version}"), expected=version)
            done[number] = True

        async def rebuild() -> None:
            manager = self.manager(store)
            for _ in range(3):
                await manager.rebuild(self.counting())
            done[writers] = True

        async def look() -> None:
            manager = self.manager(store)
            while not all(done):
                seen.append(await manager.get("counts", "Added") or 0)
                await self.runtime.sleep(0.001)

        runner, reader = self.manager(store), self.manager(store)
        calls: list[Callable[[], Any]] = [lambda n=number: write(n) for number in range(writers)]
        calls += [rebuild, look, lambda: runner.run(self.counting(), stop=lambda: all(done))]
        await self.together(calls)
        assert seen == sorted(seen), "a count went back"
        await reader.catch_up(self.counting())
        assert (await reader.status("counts")).generation == 4
        await self.check_view(reader, {f"tally-{n}": [f"{v}" for v in range(count)] for n in range(writers)})

    @case
    async def test_what_is_counted_right_before_the_switch_is_not_lost(self) -> None:
        store = self.open()
        persister, reader = self.persister(store), self.manager(store)
        await persister.append(TALLIES, "1", Added("0"), expected=0)
        old = await _projecting(store).opened()
        await old.step()
        assert await reader.get("counts", "all") == 1
        faulty = FaultyStore(store)
        version = 1

        async def count_on(batch: Batch) -> None:
            """Right before the register changes, events come in, and the old generation handles them if it may."""
            nonlocal version
            if not any(operation.key.id == "counts" and isinstance(operation, Put) for operation in batch.operations):
                return
            for _ in range(5):
                await persister.append(TALLIES, "1", Added(f"{version}"), expected=version)
                version += 1
            with suppress(TransactionConflictError):
                while await old.step():
                    pass
            seen.append(await reader.get("counts", "all"))

        seen: list[int] = []
        faulty.before_commit = count_on
        await _projecting(cast("Store", faulty)).rebuild()
        seen.append(await reader.get("counts", "all"))
        assert seen == sorted(seen), "a count went back"
        assert len(seen) >= 3
        old.close()
        assert await _projecting(store).catch_up() == version
        assert await reader.get("counts", "all") == version


def _projecting(store: Store) -> Projecting:
    """A projection that counts all events of tallies."""

    async def count(_event: Delivery, view: ViewBuffer) -> None:
        await view.put("all", (await view.get("all") or 0) + 1)

    core = PersisterCore(store, GOVERNOR, [TALLIES], SnapshotPolicy())
    return Projecting(core, Projection("counts", _unused, machines=[TALLIES]), count)


def _unused(_event: Delivery, _view: Any) -> None:
    raise AssertionError("the handler of a projection that is called in another way")


async def _documents(store: Store) -> Sequence[Any]:
    page = await store.scan(PROJECTION, GOVERNOR)
    assert page.next is None
    return page.documents


async def _left_of(store: Store, name: str) -> list[str]:
    cursors = (await store.scan(CURSOR, GOVERNOR)).documents
    ids = [document.key.id for document in (*await _documents(store), *cursors)]
    return [id for id in ids if id == name or id.startswith(f"{name}/") or f"projection.{name}.1" in id]


__all__ = ["ProjectionCases", "RebuildingCases"]
