"""The machine of recorded orchestrations."""

from __future__ import annotations

from typing import Final

from eventstate.jobs.view.events import OrchestrationEvent
from eventstate.jobs.view.fold import Rules, View, judge
from eventstate.machines.events import Event
from eventstate.machines.machine import Machine


def _evolve(view: View, stored: Event) -> View:
    rules = stored.data.get("rules", ())
    return judge(
        view, OrchestrationEvent.from_json(stored.data["event"]), Rules("guarded" in rules, "numbered" in rules)
    ).view


ORCHESTRATIONS: Final[Machine[View, Event]] = Machine("orchestration", View(), _evolve, state_of="status")
"""Streams ``orchestration-{run}``. Takes events of any type, since what the view can't use is recorded as well."""
