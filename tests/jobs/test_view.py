"""The view of an orchestration: what each event does to it, and what it looks like."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstate import (
    GraphData,
    InvalidInputError,
    OrchestrationEvent,
    OrchestrationLog,
    OrchestrationSnapshot,
    OrchestrationStore,
    StateDeletedError,
    StateMachinePersister,
    Subscription,
    UnhandledEventError,
    open_store,
)
from eventstate.jobs.view.fold import KEPT, Rules, View, fold, step
from eventstate.jobs.view.machine import ORCHESTRATIONS
from eventstate.jobs.view.snapshot import snapshot_of
from tests.jobs.orchestration import GRAPH, T0, FaultyView, event, events, started


def store_after(*handled: OrchestrationEvent, **options: bool) -> OrchestrationStore:
    store = OrchestrationStore(**options)
    for one in handled:
        store.handle_event(one)
    return store


def statuses(store: OrchestrationStore) -> dict[str, str]:
    return {unit.id: unit.status for unit in store.snapshot().units}


class TestWhatEventsDo:
    """The ten rules of the view, by events alone."""

    def test_a_new_view_waits(self) -> None:
        store = OrchestrationStore()
        snapshot = store.snapshot()
        assert (snapshot.status, snapshot.connected, snapshot.units) == ("waiting", False, ())
        assert store.graph() is None
        assert snapshot.to_json() == {
            "connected": False,
            "status": "waiting",
            "units": [],
            "summary": dict.fromkeys(("total", "pending", "ready", "inProgress", "complete", "failed", "blocked"), 0),
        }

    def test_the_beginning_brings_the_graph_and_its_units(self) -> None:
        store = store_after(started(parallelism=3))
        snapshot = store.snapshot()
        assert (snapshot.status, snapshot.parallelism, snapshot.started_at) == ("running", 3, T0)
        assert [(unit.id, unit.status, unit.current_task) for unit in snapshot.units] == [
            ("web", "pending", 0),
            ("api", "pending", 0),
            ("db", "pending", 0),
        ]
        graph = store.graph()
        assert graph is not None
        assert graph.to_json() == GRAPH

    def test_the_life_of_units(self) -> None:
        store = store_after(started())
        lives = [
            ("unit.queued", "ready"),
            ("unit.started", "in_progress"),
            ("unit.completed", "complete"),
        ]
        for seconds, (type, status) in enumerate(lives, 1):
            store.handle_event(event(type, "api", after=seconds))
            assert statuses(store) == {"web": "pending", "api": status, "db": "pending"}
        store.handle_event(event("unit.failed", "db", error="exit 1"))
        store.handle_event(event("unit.blocked", "web"))
        assert statuses(store) == {"web": "blocked", "api": "complete", "db": "failed"}
        web, api, db = store.snapshot().units
        assert (web.started_at, api.started_at, db.error) == (None, T0 + timedelta(seconds=2), "exit 1")

    def test_each_task_that_starts_counts_one(self) -> None:
        store = store_after(started(), *[event("task.started", "api", task=9) for _ in range(2)])
        assert [unit.current_task for unit in store.snapshot().units] == [0, 2, 0]

    def test_task_numbers_count_where_that_is_asked_for(self) -> None:
        told = [event("task.started", "api", task=9), event("task.started", "web")]
        store = store_after(started(), *told, numbered=True)
        assert [unit.current_task for unit in store.snapshot().units] == [1, 9, 0]

    @pytest.mark.parametrize(("type", "status"), [("orch.completed", "completed"), ("orch.failed", "failed")])
    def test_the_end(self, type: str, status: str) -> None:
        before = store_after(started())
        after = store_after(started(), event(type, after=9))
        expected = {**before.snapshot().to_json(), "status": status}
        assert after.snapshot().to_json() == expected, "the end sets the status alone"

    def test_the_summary_adds_up(self) -> None:
        units = ["a", "b", "c", "d", "e", "f"]
        types = ["unit.queued", "unit.started", "unit.completed", "unit.failed", "unit.blocked"]
        store = store_after(started(*units), *(event(*pair) for pair in zip(types, units, strict=False)))
        summary = store.snapshot().summary.to_json()
        assert summary == {
            "total": 6,
            "pending": 1,
            "ready": 1,
            "inProgress": 1,
            "complete": 1,
            "failed": 1,
            "blocked": 1,
        }

    def test_the_connection_is_a_flag(self) -> None:
        store = store_after(started())
        for connected in (True, True, False):
            store.set_connected(connected)
            assert store.snapshot().connected is connected
        assert store.snapshot().status == "running"

    def test_a_reset_forgets_everything(self) -> None:
        store = store_after(event("odd"), started(id="1"), event("unit.failed", "api", error="exit 1"))
        store.set_connected(True)
        store.reset()
        assert store.snapshot() == OrchestrationStore().snapshot()
        assert store.graph() is None
        store.handle_event(started(id="1"))
        assert store.snapshot().status == "running", "ids of the run before are forgotten too"

    def test_many_threads(self) -> None:
        store = store_after(started())
        problems: list[BaseException] = []

        def run(work: Callable[[], object]) -> Callable[[], None]:
            def repeat() -> None:
                try:
                    for _ in range(100):
                        work()
                except BaseException as error:  # handed to the main thread
                    problems.append(error)

            return repeat

        def read() -> None:
            snapshot = orjson.loads(orjson.dumps(store.snapshot().to_json()))
            counted = snapshot["summary"]
            assert sum(number for name, number in counted.items() if name != "total") == counted["total"] == 3

        writes = [lambda: store.handle_event(event("task.started", "api"))] * 10
        works = [*writes, *[read] * 10, *[lambda: store.set_connected(True)] * 3]
        threads = [threading.Thread(target=run(work)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert store.snapshot().units[1].current_task == 1000
        assert store.snapshot().connected


# Each would fail on a view as it is easily written: the last test of the file runs them on one.


def check_snapshots_stay_as_they_are(view: Any) -> None:
    view.handle_event(started("a"))
    before = view.snapshot()
    shown = before.to_json()
    view.reset()
    view.handle_event(started("b", after=60))
    assert before.to_json() == shown


def check_times_that_never_were_are_left_out(view: Any) -> None:
    view.handle_event(started("a"))
    assert all("startedAt" not in unit for unit in view.snapshot().to_json()["units"])


def check_the_beginning_says_nothing_of_the_connection(view: Any) -> None:
    view.handle_event(started("a"))
    assert view.snapshot().to_json()["connected"] is False


def check_no_unit_is_left_of_an_earlier_run(view: Any) -> None:
    view.handle_event(started("a", "b"))
    view.handle_event(event("task.started", "b"))
    view.handle_event(started("b", "c"))
    assert [(unit["id"], unit["currentTask"]) for unit in view.snapshot().to_json()["units"]] == [("b", 0), ("c", 0)]


def check_units_are_in_the_order_of_the_graph(view: Any) -> None:
    view.handle_event(started("z", "m", "a"))
    assert [unit["id"] for unit in view.snapshot().to_json()["units"]] == ["z", "m", "a"]


def check_the_parts_of_the_summary_make_the_total(view: Any) -> None:
    view.handle_event(started("a", "b"))
    view.handle_event(event("unit.queued", "a"))
    summary = view.snapshot().to_json()["summary"]
    assert summary.pop("total") == sum(summary.values())


def check_no_event_has_no_effect(view: Any) -> None:
    view.handle_event(None)
    assert view.snapshot().to_json()["status"] == "waiting"


def check_an_event_told_twice_counts_once(view: Any) -> None:
    view.handle_event(started("a"))
    for _ in range(2):
        view.handle_event(event("task.started", "a", id="e1"))
    assert view.snapshot().to_json()["units"][0]["currentTask"] == 1


def check_strangers_are_ignored(view: Any) -> None:
    view.handle_event(started("a"))
    shown = view.snapshot().to_json()
    view.handle_event(event("unit.queued", "stranger"))
    view.handle_event(event("unit.exploded", "a"))
    assert view.snapshot().to_json() == shown


def check_a_malformed_beginning_is_ignored(view: Any) -> None:
    view.handle_event(event("orch.started"))
    view.handle_event(event("orch.started", payload={"graph": 3}))
    assert view.snapshot().to_json()["status"] == "waiting"


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]


@pytest.mark.parametrize("check", CHECKS)
def test_faults_that_this_view_has_not(check: Callable[[Any], None]) -> None:
    check(OrchestrationStore())


@pytest.mark.parametrize("check", CHECKS)
def test_the_checks_can_fail(check: Callable[[Any], None]) -> None:
    with pytest.raises((AssertionError, KeyError, TypeError, AttributeError)):
        check(FaultyView())


class TestWhatCanNotBeUsed:
    """It changes nothing, and is told."""

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (event("unit.exploded", "api"), "unknown type"),
            (event("unit.queued", "stranger"), "unknown unit"),
            (event("unit.queued"), "it names no unit"),
            (event("task.started"), "it names no unit"),
            (event("orch.started"), "malformed payload: payload is absent"),
            (event("orch.started", payload=[1]), "malformed payload: payload is no object"),
            (event("orch.started", payload={"parallelism": "3"}), "malformed payload: parallelism is no integer"),
            (event("orch.started", payload={"parallelism": True}), "malformed payload: parallelism is no integer"),
            (event("orch.started", payload={"unit_count": 2**63}), "malformed payload: unit_count is no integer"),
            (event("orch.started", payload={"graph": {"nodes": 7}}), "malformed payload: nodes is no array"),
            (event("orch.started", payload={"graph": {"nodes": [{}]}}), "malformed payload: id of a node is no text"),
            (
                event("orch.started", payload={"graph": {"nodes": [{"id": "\ud800"}]}}),
                "malformed payload: id of a node has a lone surrogate",
            ),
            (
                event("orch.started", payload={"graph": {"edges": [{"from": "a"}]}}),
                "malformed payload: to of an edge is no text",
            ),
            (event("orch.started", payload={"graph": {"levels": [3]}}), "malformed payload: a level is no array"),
        ],
    )
    def test_it_is_counted_kept_and_logged(
        self, bad: OrchestrationEvent, reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = store_after(started())
        shown = store.snapshot().to_json()
        with caplog.at_level(logging.WARNING, "eventstate"):
            store.handle_event(bad)
        snapshot = store.snapshot()
        assert snapshot.to_json() == shown
        assert snapshot.unhandled == 1
        [kept] = snapshot.recently_unhandled
        assert (kept.type, kept.unit, kept.reason) == (bad.type, bad.unit, reason)
        assert [record.getMessage().endswith(reason) for record in caplog.records] == [True]

    @pytest.mark.parametrize("bad", [event("odd"), event("unit.queued", "stranger"), event("orch.started", id="1")])
    def test_a_strict_view_raises(self, bad: OrchestrationEvent) -> None:
        store = store_after(started(), strict=True)
        before = store.snapshot()
        with pytest.raises(UnhandledEventError) as caught:
            store.handle_event(bad)
        assert (caught.value.event_type, caught.value.unit) == (bad.type, bad.unit)
        assert store.snapshot() == before
        with pytest.raises(UnhandledEventError):
            store.handle_event(bad)

    def test_the_last_ones_are_kept(self) -> None:
        store = store_after(*(event(f"odd {number}") for number in range(KEPT + 5)))
        snapshot = store.snapshot()
        assert snapshot.unhandled == KEPT + 5
        assert [kept.type for kept in snapshot.recently_unhandled] == [f"odd {n}" for n in range(5, KEPT + 5)]

    def test_long_ones_are_cut(self) -> None:
        with open_store("memory://") as store:
            log = OrchestrationLog(store, "run")
            log.handle_events([event("x" * 60_000, "u" * 60_000) for _ in range(KEPT + 1)])
            kept = log.snapshot().recently_unhandled[-1]
            assert (kept.type, kept.unit) == ("x" * 200 + "…", "u" * 200 + "…")
            assert [one.type for one in log.events()] == ["x" * 60_000] * (KEPT + 1), "what was recorded is whole"

    def test_what_is_no_event_is_refused(self) -> None:
        odd: Any = {"type": "unit.queued", "unit": "api"}
        with open_store("memory://") as store:
            log = OrchestrationLog(store, "run")
            for handle in (OrchestrationStore().handle_event, log.handle_event, log.handle_events):
                with pytest.raises(InvalidInputError, match="from_json"):
                    handle(odd)
            assert list(log.events()) == []

    @pytest.mark.parametrize(
        "payload", [{}, {"graph": None}, {"unit_count": None, "graph": {"nodes": None}}, {"more": 1}]
    )
    def test_a_beginning_may_say_little(self, payload: Any) -> None:
        store = store_after(started(), event("orch.started", payload=payload))
        snapshot = store.snapshot()
        assert (snapshot.status, snapshot.units, snapshot.unhandled) == ("running", (), 0)
        assert "parallelism" not in snapshot.to_json()


class TestGuards:
    """With guards, what has ended stays so."""

    def test_late_events_raise_nobody_from_the_dead(self) -> None:
        late = [event("unit.completed", "api"), event("unit.started", "api"), event("task.started", "api")]
        assert statuses(store_after(started(), *late))["api"] == "in_progress"
        store = store_after(started(), *late, guarded=True)
        assert statuses(store)["api"] == "complete"
        assert [kept.reason for kept in store.snapshot().recently_unhandled] == ["the unit is complete"] * 2

    def test_the_end_of_a_run_is_its_end(self) -> None:
        rest = [event("orch.failed"), event("orch.completed"), event("unit.queued", "api")]
        store = store_after(started(), *rest, guarded=True)
        assert (store.snapshot().status, statuses(store)["api"]) == ("failed", "pending")
        assert [kept.reason for kept in store.snapshot().recently_unhandled] == ["the orchestration is failed"] * 2
        store.handle_event(started("api"))
        store.handle_event(event("unit.queued", "api"))
        assert statuses(store) == {"api": "ready"}

    def test_a_run_that_was_not_started_does_not_end(self) -> None:
        assert store_after(event("orch.completed"), guarded=True).snapshot().status == "waiting"

    def test_a_blocked_unit_goes_on(self) -> None:
        rest = [event(type, "api") for type in ("unit.blocked", "unit.queued", "unit.started", "unit.queued")]
        store = store_after(started(), *rest, guarded=True)
        assert statuses(store)["api"] == "in_progress", "and a start is not taken back"
        assert store.snapshot().unhandled == 1


class TestLooks:
    """Snapshots, graphs and events as values and as JSON."""

    def test_the_whole_snapshot_as_json(self) -> None:
        store = store_after(
            started("a", "b", parallelism=4),
            event("unit.started", "a", after=5),
            event("unit.failed", "b", error="exit 1"),
        )
        store.set_connected(True)
        assert list(store.snapshot().to_json().items()) == [
            ("connected", True),
            ("status", "running"),
            ("startedAt", "2026-01-15T10:00:00Z"),
            ("parallelism", 4),
            (
                "units",
                [
                    {
                        "id": "a",
                        "status": "in_progress",
                        "currentTask": 0,
                        "totalTasks": 0,
                        "startedAt": "2026-01-15T10:00:05Z",
                    },
                    {"id": "b", "status": "failed", "currentTask": 0, "totalTasks": 0, "error": "exit 1"},
                ],
            ),
            (
                "summary",
                {"total": 2, "pending": 0, "ready": 0, "inProgress": 1, "complete": 0, "failed": 1, "blocked": 0},
            ),
        ]

    def test_nobody_can_change_a_snapshot(self) -> None:
        snapshot: Any = store_after(started()).snapshot()
        with pytest.raises(FrozenInstanceError):
            snapshot.status = "failed"
        with pytest.raises(FrozenInstanceError):
            snapshot.units[0].status = "failed"
        assert isinstance(snapshot.units, tuple)

    def test_what_becomes_of_a_payload_later_does_not_matter(self) -> None:
        payload: Any = {"graph": {"nodes": [{"id": "a", "level": 0}], "levels": [["a"]]}}
        store = store_after(event("orch.started", payload=payload))
        payload["graph"]["nodes"].append({"id": "b"})
        payload["graph"]["levels"][0].append("b")
        graph = store.graph()
        assert graph is not None
        assert graph.to_json() == {"nodes": [{"id": "a", "level": 0}], "edges": [], "levels": [["a"]]}

    def test_an_edge_goes_from_what_waits_to_what_it_waits_for(self) -> None:
        graph = store_after(started()).graph()
        assert graph is not None
        assert (graph.dependencies("web"), graph.dependents("db")) == (("api",), ("api",))
        assert GraphData().to_json() == {"nodes": [], "edges": [], "levels": []}

    def test_an_event_as_json(self) -> None:
        text = (
            b'{"type":"unit.failed","time":"2026-01-15T11:00:00.120000000+01:00","unit":"api","task":3,"pr":12,'
            b'"payload":{"a":[1]},"error":"exit 1","id":"e1","more":true}'
        )
        read = OrchestrationEvent.from_json(text)
        assert read == OrchestrationEvent(
            type="unit.failed",
            time=datetime(2026, 1, 15, 11, 0, 0, 120_000, tzinfo=timezone(timedelta(hours=1))),
            unit="api",
            task=3,
            pr=12,
            payload={"a": [1]},
            error="exit 1",
            id="e1",
        )
        plain = read.to_json()
        assert plain["time"] == "2026-01-15T10:00:00.12Z"
        assert OrchestrationEvent.from_json(plain) == read
        assert OrchestrationEvent.from_json({"type": "x", "time": "0001-01-01T00:00:00Z"}).time is None
        assert OrchestrationEvent(type="x").to_json() == {"type": "x"}
        empty = OrchestrationEvent.from_json({"type": "x", "unit": "", "error": "", "id": ""})
        assert empty == OrchestrationEvent(type="x"), "no two events are the same for having no id"
        assert OrchestrationEvent(type="x", unit="", error="", id="") == empty

    @pytest.mark.parametrize(
        "odd",
        [
            b"{",
            b"[]",
            b"{}",
            {"type": 3},
            {"type": "x", "unit": 7},
            {"type": "x", "task": "1"},
            {"type": "x", "task": True},
            {"type": "x", "pr": 1.5},
            {"type": "x", "error": ["e"]},
            {"type": "x", "id": 4},
            {"type": "x", "time": 5},
            {"type": "x", "time": "soon"},
            {"type": "x", "time": "2026-01-15T10:00:00"},
        ],
    )
    def test_what_is_no_event(self, odd: Any) -> None:
        with pytest.raises(InvalidInputError):
            OrchestrationEvent.from_json(odd)


class TestLaws:
    @settings(max_examples=60)
    @given(history=events())
    def test_the_store_is_the_fold_and_the_fold_is_its_steps(self, history: list[OrchestrationEvent]) -> None:
        for rules in (Rules(), Rules(guarded=True, numbered=True)):
            store = store_after(*history, **rules._asdict())
            assert store.snapshot() == snapshot_of(fold(history, rules), False)
            assert fold(history, rules) == fold(list(history), rules)
            seen, view = set[str](), View()
            for one in history:
                before = asdict(view)
                if one.id is None or one.id not in seen:
                    seen |= {one.id} if one.id else set()
                    after = step(view, one, rules)
                    assert asdict(view) == before, "a step changed what it was given"
                    view = after
            assert view == fold(history, rules)

    @settings(max_examples=60)
    @given(history=events())
    def test_snapshots_hold_together(self, history: list[OrchestrationEvent]) -> None:
        store = store_after(*history)
        snapshot: OrchestrationSnapshot = store.snapshot()
        summary = snapshot.summary.to_json()
        assert summary.pop("total") == sum(summary.values()) == len(snapshot.units)
        graph = store.graph()
        nodes = () if graph is None else graph.nodes
        assert [unit.id for unit in snapshot.units] == [node.id for node in nodes]
        orjson.dumps(snapshot.to_json())
        assert snapshot.to_json() == store.snapshot().to_json()

    @settings(max_examples=60)
    @given(history=events())
    def test_with_guards_nothing_that_ended_begins_again(self, history: list[OrchestrationEvent]) -> None:
        view = View()
        for one in history:
            after = step(view, one, Rules(guarded=True))
            if one.type != "orch.started":
                for id, unit in view.units.items():
                    assert unit.get("status") not in ("complete", "failed") or after.units[id] == unit
                assert view.status not in ("completed", "failed") or after.status == view.status
            view = after

    def test_nothing_does_nothing(self) -> None:
        view = fold([started(), None])
        assert step(view, None) is view
        assert T0.tzinfo is UTC


class TestRecorded:
    """The recorded view is the fold too, whichever way the events come."""

    @settings(max_examples=20, deadline=None)
    @given(history=events(), sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5))
    def test_the_log_is_the_fold(self, history: list[OrchestrationEvent], sizes: list[int]) -> None:
        with open_store("memory://") as store:
            log = OrchestrationLog(store, "run", guarded=True)
            rest, pieces = list(history), itertools.cycle(sizes)
            while rest:
                size = next(pieces)
                log.handle_events(rest[:size])
                rest = rest[size:]
            expected = snapshot_of(fold(history, Rules(guarded=True)), False)
            assert log.snapshot() == log.rebuild() == expected
            assert log.snapshot().to_json() == store_after(*history, guarded=True).snapshot().to_json()

    def test_it_can_be_followed_and_verified(self, sqlite_url: str) -> None:
        with open_store(sqlite_url) as store:
            log = OrchestrationLog(store, "run")
            log.handle_events([started("a"), event("odd", id="1"), event("unit.failed", "a", error="exit 1")])
            persister = StateMachinePersister(store, governor="jobs", machines=[ORCHESTRATIONS])
            with Subscription(persister, machines=[ORCHESTRATIONS]) as followed:
                told: list[Any] = list(itertools.islice(followed, 3))
            assert [one.data["event"]["type"] for one in told] == ["orch.started", "odd", "unit.failed"]
            assert persister.validate_consistency().is_consistent
            [listed] = persister.list_states(machine="orchestration", state="running").states
            assert listed.id == "orchestration-run"
            persister.delete_state(ORCHESTRATIONS, "run", expected=3)
            for work in (log.snapshot, lambda: log.handle_event(event("unit.queued", "a"))):
                with pytest.raises(StateDeletedError):
                    work()
