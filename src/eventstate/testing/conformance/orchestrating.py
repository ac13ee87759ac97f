"""What recorded orchestrations promise: the view is the fold of the events, for everybody and after every crash."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace as changed
from itertools import product
from typing import Any, cast

from eventstate.errors import (
    CommitUnknownError,
    ConfigurationError,
    DocumentTooLargeError,
    EncodingError,
    InvalidIdError,
    StoreUnavailableError,
    UnhandledEventError,
)
from eventstate.jobs.view.async_log import AsyncOrchestrationLog
from eventstate.jobs.view.events import OrchestrationEvent
from eventstate.jobs.view.fold import Rules, fold
from eventstate.jobs.view.log import OrchestrationLog
from eventstate.jobs.view.snapshot import OrchestrationSnapshot, snapshot_of
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import Face, PersisterSuite, everything, head_key, replace, stored
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.faults import UNANSWERED, Fault, FaultyStore

_GOVERNOR = "jobs"


def event(type: str, unit: str | None = None, **more: Any) -> OrchestrationEvent:
    return OrchestrationEvent(type=type, unit=unit, **more)


def started(*units: str, **more: Any) -> OrchestrationEvent:
    """The beginning of a run with these units."""
    graph = {"nodes": [{"id": unit, "level": 0} for unit in units], "edges": [], "levels": [list(units)]}
    return event("orch.started", payload={"unit_count": len(units), "parallelism": 2, "graph": graph}, **more)


_RUN = (
    started("a", "b"),
    event("unit.queued", "a"),
    event("unit.started", "a"),
    event("task.started", "a"),
    event("unit.odd", "a"),
    event("unit.queued", "stranger"),
    event("unit.completed", "a"),
    event("unit.started", "a"),
    event("unit.failed", "b", error="exit 1"),
    event("orch.failed"),
    event("$reserved", "a"),
    event("odd\nname"),
)


class OrchestrationCases(PersisterSuite):
    """Orchestrations that are recorded in a store."""

    def log(self, store: Store | None = None, run: str = "run-1", **options: Any) -> Face:
        """The log of a run, on a store of this test."""
        face = OrchestrationLog if self.world.name == "sync" else AsyncOrchestrationLog
        return Face(cast("Any", face(store if store is not None else self.open(), run, **options)))

    async def check_view(self, log: Face, rules: Rules = Rules()) -> OrchestrationSnapshot:  # noqa: B008
        """Fail unless the stored view is the fold of the recorded events, and what a rebuild makes of them."""
        found: OrchestrationSnapshot = await log.snapshot()
        events: list[OrchestrationEvent] = await log.events()
        assert found == snapshot_of(fold(events, rules), found.connected)
        assert await log.rebuild() == found
        return found

    @case
    async def test_the_view_is_the_fold_of_what_was_recorded(self) -> None:
        log = self.log()
        assert (await log.snapshot()).status == "waiting"
        assert await log.graph() is None
        assert await log.events() == []
        for number, one in enumerate(_RUN, 1):
            assert await log.handle_event(one)
            found: OrchestrationSnapshot = await log.snapshot()
            assert found == snapshot_of(fold(_RUN[:number]), False)
        assert await log.events() == list(_RUN)
        found = await self.check_view(log)
        assert [kept.reason for kept in found.recently_unhandled] == [
            "unknown type",
            "unknown unit",
            "unknown type",
            "unknown type",
        ]
        assert [node.id for node in (await log.graph()).nodes] == ["a", "b"]
        assert not await log.handle_event(None)

    @case
    async def test_another_process_sees_the_same_view(self) -> None:
        first = self.log()
        await first.handle_events(_RUN)
        other = self.log(self.open(apart=True))
        assert await other.snapshot() == await first.snapshot()
        await other.handle_event(started("c"))
        assert [unit.id for unit in (await first.snapshot()).units] == ["c"]
        first.inner.set_connected(True)
        assert (await first.snapshot()).connected
        assert not (await other.snapshot()).connected

    @case
    async def test_runs_are_apart(self) -> None:
        store = self.open()
        await self.log(store).handle_event(started("a", id="1"))
        other = self.log(store, "run-2")
        assert (await other.snapshot()).status == "waiting"
        assert await other.handle_event(started("b", id="1")), "ids are those of a run"
        for run, id in (("x", "y/1"), ("x/y", "1"), ("x%2Fy", "1")):
            assert await self.log(store, run).handle_event(started("c", id=id)), run
        assert [unit.id for unit in (await self.log(store).snapshot()).units] == ["a"]
        assert (await self.log(store, governor="elsewhere").snapshot()).status == "waiting"

    @case
    async def test_an_event_that_comes_again_is_recorded_once(self) -> None:
        store = self.open()
        log = self.log(store)
        named = [changed(one, id=f"e{number}") for number, one in enumerate(_RUN)]
        assert await log.handle_events([*named[:5], *named[:5], None]) == 5
        assert await log.handle_events(named) == len(named) - 5
        assert not await log.handle_event(named[3])
        assert await self.log(self.open(apart=True)).handle_events(named) == 0
        assert await log.events() == named
        await self.check_view(log)

    @case
    async def test_long_histories_go_in_several_commits(self) -> None:
        log = self.log()
        tasks = [event("task.started", "a", id=f"t{number}") for number in range(230)]
        assert await log.handle_events([started("a"), *tasks, *tasks[:7]]) == 231
        assert (await log.snapshot()).units[0].current_task == 230
        assert len(await log.events()) == 231
        await self.check_view(log)

    @case
    async def test_large_events_go_in_several_commits(self) -> None:
        log = self.log()
        told = [started("a"), *(event("note", payload="x" * 150_000) for _ in range(8))]
        with raises(EncodingError):
            await log.handle_events([*told, event("note", payload=float("nan"))])
        assert await log.events() == [], "nothing of it was written"
        assert await log.handle_events(told) == 9
        assert await log.events() == told
        with raises(DocumentTooLargeError):
            await log.handle_event(event("note", payload="x" * 1_000_000))
        assert (await self.check_view(log)).unhandled == 8

    @case
    async def test_rules_are_recorded_with_what_was_taken_by_them(self) -> None:
        store = self.open()
        guarded = self.log(store, guarded=True, numbered=True)
        rules = Rules(guarded=True, numbered=True)
        told = (started("a"), event("task.started", "a", task=7), event("unit.completed", "a"), *_RUN[2:4])
        await guarded.handle_events(told)
        found = await self.check_view(guarded, rules)
        assert (found.units[0].status, found.units[0].current_task, found.unhandled) == ("complete", 7, 2)
        plain = self.log(store)
        assert await plain.rebuild() == found, "whoever rebuilds it asks for other rules"
        await plain.handle_event(event("unit.started", "a"))
        mixed: OrchestrationSnapshot = await plain.snapshot()
        assert mixed.units[0].status == "in_progress"
        assert await guarded.rebuild() == mixed

    @case
    async def test_a_strict_log_writes_nothing_of_what_it_can_not_use(self) -> None:
        store = self.open()
        log = self.log(store, strict=True)
        await log.handle_event(started("a"))
        before = await everything(store, _GOVERNOR)
        for bad in (event("odd"), event("unit.queued", "b", id="1"), event("orch.started")):
            with raises(UnhandledEventError):
                await log.handle_events([event("unit.queued", "a", id="2"), bad])
        with raises(EncodingError):
            await log.handle_event(event("odd", payload=float("nan")))
        with raises(InvalidIdError):
            await log.handle_event(event("unit.queued", "a", id="\n"))
        assert await everything(store, _GOVERNOR) == before
        assert await log.handle_event(event("unit.queued", "a", id="2")), "it was not noted as recorded"

    @case
    async def test_ids_and_stores_that_can_not_be_used(self) -> None:
        store = self.open()
        for id in ("", "\n", cast("str", 7)):
            with raises(InvalidIdError):
                self.log(store, id)
        wrong = AsyncOrchestrationLog if self.world.name == "sync" else OrchestrationLog
        with raises(ConfigurationError):
            wrong(store, "run-1")

    @case
    async def test_reporters_at_the_same_time(self) -> None:
        store = self.open()
        await self.log(store).handle_event(started("a"))

        async def report(number: int) -> None:
            log = self.log(store)
            for task in range(self.rounds):
                await log.handle_event(event("task.started", "a", id=f"{number % 3}/{task}"))

        calls = [lambda number=number: report(number) for number in range(6)]
        await self.together(calls)
        log = self.log(store)
        assert (await log.snapshot()).units[0].current_task == 3 * self.rounds, "each of two told it"
        await self.check_view(log)

    @case
    async def test_a_damaged_view_is_made_anew_from_the_events(self) -> None:
        store = self.open()
        log = self.log(store)
        await log.handle_events(_RUN)
        expected = await log.snapshot()
        key = head_key("orchestration-run-1", _GOVERNOR)
        await replace(store, key, (await stored(store, key)).body.replace(b'"failed"', b'"folded"', 1))
        assert await log.snapshot() == expected
        assert await log.rebuild() == expected

    @case
    async def test_commits_whose_answer_is_lost(self) -> None:
        store = self.open()
        for number, (fault, place) in enumerate(product((*UNANSWERED, Fault.CANCELLED_AFTER), range(3))):
            run = f"run-{number}"
            faulty = FaultyStore(store, [*[Fault.NONE] * place, fault], runtime=self.world.steered())
            log = self.log(faulty, run)
            told = [started("a", id="0"), *(event("task.started", "a", id=f"{task}") for task in range(1, 4))]
            for one in told:
                with suppress(CommitUnknownError, StoreUnavailableError, asyncio.CancelledError):
                    await log.handle_event(one)
            while faulty.held:
                await faulty.deliver()
            await log.handle_events(told)  # once more, as a reporter does that is not sure
            assert await log.events() == told, fault
            await self.check_view(log)
