"""The fold: the view after each event. Computes, and does nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypedDict

import orjson

from eventstate.core.instants import micros_of
from eventstate.jobs.view.events import (
    ORCH_COMPLETED,
    ORCH_FAILED,
    ORCH_STARTED,
    TASK_STARTED,
    UNIT_BLOCKED,
    UNIT_COMPLETED,
    UNIT_FAILED,
    UNIT_QUEUED,
    UNIT_STARTED,
    OrchestrationEvent,
)
from eventstate.jobs.view.graph import MalformedError, plan_of

WAITING: Final = "waiting"
RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"

PENDING: Final = "pending"
READY: Final = "ready"
IN_PROGRESS: Final = "in_progress"
COMPLETE: Final = "complete"
BLOCKED: Final = "blocked"

KEPT: Final = 20
"""How many of the unhandled events are kept; of the others only the number."""

SHOWN: Final = 200
"""Characters of a text in what is kept of an unhandled event: the view is written with each event."""

_ENDS: Final = {ORCH_COMPLETED: COMPLETED, ORCH_FAILED: FAILED}
_MOVES: Final = {
    UNIT_QUEUED: READY,
    UNIT_STARTED: IN_PROGRESS,
    UNIT_COMPLETED: COMPLETE,
    UNIT_FAILED: FAILED,
    UNIT_BLOCKED: BLOCKED,
}

GUARDED: Final = {
    PENDING: frozenset({*_MOVES, TASK_STARTED}),
    READY: frozenset({*_MOVES, TASK_STARTED}) - {UNIT_QUEUED},
    IN_PROGRESS: frozenset({UNIT_BLOCKED, UNIT_COMPLETED, UNIT_FAILED, TASK_STARTED}),
    BLOCKED: frozenset({*_MOVES, TASK_STARTED}) - {UNIT_BLOCKED},
    COMPLETE: frozenset[str](),
    FAILED: frozenset[str](),
}
"""With guards, the events that count by the status of their unit. Late ones may skip a status, and none goes back."""


class Unit(TypedDict, total=False):
    """A unit as the fold keeps it; what is as in a pending one is left out. Times: microseconds since 1970."""

    status: str
    current_task: int
    error: str
    started_at: int


class Unhandled(TypedDict, total=False):
    """An event that changed nothing, as the fold keeps it."""

    type: str
    reason: str
    unit: str
    at: int


@dataclass(frozen=True, slots=True)
class View:
    """All that the events so far come to. A value: no part of it is ever changed in place.

    It is written with each event, so it is of plain data, and of no more than it needs.

    Attributes:
        graph: as JSON text.
        units: each a `Unit`, by id, in the order of the graph.
        unhandled: how many events changed nothing.
        recently_unhandled: the last of those, each an `Unhandled`.
    """

    status: str = WAITING
    started_at: int | None = None
    parallelism: int = 0
    graph: str | None = None
    units: dict[str, Any] = field(default_factory=dict[str, Any])
    unhandled: int = 0
    recently_unhandled: list[Any] = field(default_factory=list[Any])


class Rules(NamedTuple):
    """How events are taken.

    Attributes:
        guarded: what has ended stays so until the next ``orch.started``, and no unit goes back.
        numbered: ``task.started`` sets the current task to the number it has, rather than adding one.
    """

    guarded: bool = False
    numbered: bool = False


class Judged(NamedTuple):
    """The view after an event; the problem where the event changed nothing."""

    view: View
    problem: str | None = None


PLAIN_RULES: Final = Rules()


def step(view: View, event: OrchestrationEvent | None, rules: Rules = PLAIN_RULES) -> View:
    """The view after an event. None changes nothing."""
    return view if event is None else judge(view, event, rules).view


def fold(events: Iterable[OrchestrationEvent | None], rules: Rules = PLAIN_RULES) -> View:
    """The view after all these events; one whose id has come before counts once."""
    view, seen = View(), set[str]()
    for event in events:
        if event is None or event.id in seen:
            continue
        if event.id is not None:
            seen.add(event.id)
        view = judge(view, event, rules).view
    return view


def judge(view: View, event: OrchestrationEvent, rules: Rules = PLAIN_RULES) -> Judged:
    """The view after an event, and what was wrong with it."""
    found = _after(view, event, rules)
    if isinstance(found, View):
        return Judged(found)
    entry = Unhandled(type=_cut(event.type), reason=found)
    if event.unit is not None:
        entry["unit"] = _cut(event.unit)
    if event.time is not None:
        entry["at"] = micros_of(event.time, "time")
    kept = [*view.recently_unhandled, entry][-KEPT:]
    return Judged(replace(view, unhandled=view.unhandled + 1, recently_unhandled=kept), found)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _after(view: View, event: OrchestrationEvent, rules: Rules) -> View | str:
    """The view that the event leads to, or why it leads nowhere."""
    if event.type == ORCH_STARTED:
        return _started(view, event)
    if event.type in _ENDS:
        if rules.guarded and view.status != RUNNING:
            return f"the orchestration is {view.status}"
        return replace(view, status=_ENDS[event.type])
    if event.type in _MOVES or event.type == TASK_STARTED:
        return _unit_changed(view, event, rules)
    return "unknown type"


def _started(view: View, event: OrchestrationEvent) -> View | str:
    """A new run: none of the units of an earlier one is left."""
    try:
        plan = plan_of(event.payload)
    except MalformedError as error:
        return f"malformed payload: {error}"
    return replace(
        view,
        status=RUNNING,
        started_at=None if event.time is None else micros_of(event.time, "time"),
        parallelism=plan.parallelism,
        graph=None if plan.graph is None else orjson.dumps(plan.graph.to_json()).decode(),
        units={} if plan.graph is None else {node.id: Unit() for node in plan.graph.nodes},
    )


def _unit_changed(view: View, event: OrchestrationEvent, rules: Rules) -> View | str:
    if event.unit is None:
        return "it names no unit"
    unit: Unit | None = view.units.get(event.unit)
    if unit is None:
        return "unknown unit"
    if rules.guarded and view.status != RUNNING:
        return f"the orchestration is {view.status}"
    status = unit.get("status", PENDING)
    if rules.guarded and event.type not in GUARDED[status]:
        return f"the unit is {status}"
    return replace(view, units={**view.units, event.unit: _moved(unit, event, rules)})


def _moved(unit: Unit, event: OrchestrationEvent, rules: Rules) -> Unit:
    moved = Unit(**unit)
    if event.type == TASK_STARTED:
        one_more = unit.get("current_task", 0) + 1
        moved["current_task"] = event.task if rules.numbered and event.task is not None else one_more
        return moved
    moved["status"] = _MOVES[event.type]
    if event.type == UNIT_STARTED:
        moved.pop("started_at", None)
        if event.time is not None:
            moved["started_at"] = micros_of(event.time, "time")
    if event.type == UNIT_FAILED:
        moved.pop("error", None)
        if event.error:
            moved["error"] = event.error
    return moved
