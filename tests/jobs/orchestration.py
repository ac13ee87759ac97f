"""Events of orchestrations, for the tests of the view, and a view with the faults that it must not have."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from eventstate import OrchestrationEvent

T0 = datetime(2026, 1, 15, 10, tzinfo=UTC)

GRAPH = {
    "nodes": [{"id": "web", "level": 1}, {"id": "api", "level": 0}, {"id": "db", "level": 0}],
    "edges": [{"from": "web", "to": "api"}, {"from": "api", "to": "db"}],
    "levels": [["api", "db"], ["web"]],
}


def event(type: str, unit: str | None = None, *, after: int = 0, **more: Any) -> OrchestrationEvent:
    """An event some seconds after the beginning."""
    return OrchestrationEvent(type=type, unit=unit, time=T0 + timedelta(seconds=after), **more)


def started(*units: str, parallelism: int = 2, **more: Any) -> OrchestrationEvent:
    """The beginning of a run with these units, or those of `GRAPH`."""
    graph: Any = {"nodes": [{"id": id, "level": 0} for id in units], "edges": [], "levels": [list(units)]}
    payload = {"unit_count": len(units) or 3, "parallelism": parallelism, "graph": graph if units else GRAPH}
    return event("orch.started", payload=payload, **more)


UNIT_TYPES = ("unit.queued", "unit.started", "unit.completed", "unit.failed", "unit.blocked", "task.started")

_PAYLOADS: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"unit_count": 3, "parallelism": 2, "graph": GRAPH},
        {"unit_count": 1, "graph": {"nodes": [{"id": "api", "level": 0}], "edges": [], "levels": [["api"]]}},
        {},
        None,
        "odd",
        {"graph": {"nodes": "odd"}},
    ]
)


def events() -> st.SearchStrategy[list[OrchestrationEvent]]:
    """Histories of any sort: also senseless ones, with strangers among them, and some that are told twice."""
    one = st.one_of(
        st.builds(event, st.just("orch.started"), after=st.integers(0, 9), payload=_PAYLOADS),
        st.builds(event, st.sampled_from(["orch.completed", "orch.failed", "orch.paused"]), after=st.integers(0, 9)),
        st.builds(
            event,
            st.sampled_from(UNIT_TYPES),
            st.sampled_from(["web", "api", "db", "stranger", None]),
            after=st.integers(0, 9),
            task=st.sampled_from([None, 1, 7]),
            error=st.sampled_from([None, "exit 1"]),
            id=st.sampled_from([None, None, "e1", "e2", "e3"]),
        ),
    )
    beginning = st.lists(st.just(started()), max_size=1)
    return st.builds(lambda first, rest: first + rest, beginning, st.lists(one, max_size=25))


@dataclass
class FaultyView:
    """A view as it is easily written: a mutable one, handed out by reference, that never forgets a unit."""

    status: str = "waiting"
    times: dict[str, datetime] = field(default_factory=dict)
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    connected: bool = False

    def handle_event(self, event: Any) -> None:
        if event.type == "orch.started":
            self.status, self.connected = "running", True
            self.times["startedAt"] = event.time
            for node in sorted(event.payload["graph"]["nodes"], key=lambda node: node["id"]):
                self.units[node["id"]] = {"id": node["id"], "status": "pending", "currentTask": 0}
        elif event.type == "task.started":
            self.units[event.unit]["currentTask"] += 1
        elif event.type == "unit.queued":
            self.units[event.unit]["status"] = "ready"
        elif event.type == "unit.completed":
            self.units[event.unit]["status"] = "complete"

    def snapshot(self) -> FaultyView:
        return self

    def to_json(self) -> dict[str, Any]:
        units = [{"startedAt": "0001-01-01T00:00:00Z", **unit} for unit in self.units.values()]
        named = ("pending", "in_progress", "complete", "failed", "blocked")
        summary = {name: sum(unit["status"] == name for unit in units) for name in named}
        summary["total"] = len(units)
        times = {name: str(time) for name, time in self.times.items()}
        return {"connected": self.connected, "status": self.status, "units": units, "summary": summary, **times}

    def set_connected(self, connected: bool) -> None:
        self.connected = connected

    def reset(self) -> None:
        self.status, self.connected = "waiting", False
        self.times.clear()
        self.units.clear()
