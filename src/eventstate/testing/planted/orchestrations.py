"""Bugs in recorded orchestrations: in what is recorded of an event, and in what counts as one told again."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.jobs.view import fold
from eventstate.jobs.view.events import OrchestrationEvent
from eventstate.jobs.view.recording import Recording
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.events import Event
from eventstate.testing.conformance.orchestrating import OrchestrationCases
from eventstate.testing.planted.plant import Patch, Plant


def _without_rules() -> list[Patch]:
    def stored(_self: Recording, event: OrchestrationEvent) -> Event:
        return Event(event.type, {"event": event.to_json()})

    return [(Recording, "_stored", stored)]


def _every_telling() -> list[Patch]:
    async def fresh(_self: Recording, _transaction: TransactionCore, events: Sequence[Any]) -> list[Any]:
        return list(events)

    return [(Recording, "_fresh", fresh)]


def _within_one_call() -> list[Patch]:
    async def fresh(_self: Recording, _transaction: TransactionCore, events: Sequence[Any]) -> list[Any]:
        return [*{event.id or id(event): event for event in events}.values()]

    return [(Recording, "_fresh", fresh)]


def _only_what_counts() -> list[Patch]:
    async def write(self: Recording, transaction: TransactionCore, events: Sequence[OrchestrationEvent]) -> Any:
        view = await self.view()
        return await whole(self, transaction, [event for event in events if fold.judge(view, event).problem is None])

    whole = Recording._write
    return [(Recording, "_write", write)]


ORCHESTRATION_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="orchestration-rules-of-the-reader",
        story="everybody asks for the same rules",
        patches=_without_rules,
        suite=OrchestrationCases,
        cases=["test_rules_are_recorded_with_what_was_taken_by_them"],
    ),
    Plant(
        name="orchestration-event-told-twice",
        story="a reporter tells each event once",
        patches=_every_telling,
        suite=OrchestrationCases,
        cases=["test_an_event_that_comes_again_is_recorded_once", "test_commits_whose_answer_is_lost"],
    ),
    Plant(
        name="orchestration-event-told-by-two",
        story="doubles come right after each other",
        patches=_within_one_call,
        suite=OrchestrationCases,
        cases=["test_reporters_at_the_same_time"],
    ),
    Plant(
        name="orchestration-strangers-left-out",
        story="what changes nothing need not be kept",
        patches=_only_what_counts,
        suite=OrchestrationCases,
        cases=["test_the_view_is_the_fold_of_what_was_recorded"],
    ),
)
