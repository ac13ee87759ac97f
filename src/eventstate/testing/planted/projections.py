"""Bugs in projections: in what one commit holds, and in how one generation takes the place of another."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.core.documents import Batch, Check, Operation
from eventstate.log.positions import Extra, Positions, nothing
from eventstate.log.projections import ViewReader
from eventstate.machines.generation_run import GenerationRun
from eventstate.testing.conformance.projecting import ProjectionCases, RebuildingCases
from eventstate.testing.planted.plant import Patch, Plant

_save = Positions.save


def _writes_before_the_place() -> list[Patch]:
    async def save(self: Positions, place: Any, extra: Extra = nothing) -> None:
        token = self.store.runtime.unique()
        operations = [op for op in extra(token) if not isinstance(op, Check)]
        if operations:
            await self._committer.commit_guarded(Batch(token, operations))
        await _save(self, place)

    return [(Positions, "save", save)]


def _the_place_before_the_writes() -> list[Patch]:
    async def save(self: Positions, place: Any, extra: Extra = nothing) -> None:
        await _save(self, place)
        token = self.store.runtime.unique()
        operations = [op for op in extra(token) if not isinstance(op, Check)]
        if operations:
            await self._committer.commit_guarded(Batch(token, operations))

    return [(Positions, "save", save)]


def _switched_under_the_runner() -> list[Patch]:
    def unchecked(_self: GenerationRun, _token: str) -> Sequence[Operation]:
        return ()

    return [(GenerationRun, "_checked", unchecked)]


def _generation_remembered() -> list[Patch]:
    async def confirmed(self: ViewReader, name: str, number: int) -> tuple[bool, int]:
        self._numbers.setdefault(name, number)
        return True, number

    return [(ViewReader, "_confirmed", confirmed)]


PROJECTION_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="projection-writes-first",
        story="the place follows a moment later",
        patches=_writes_before_the_place,
        suite=ProjectionCases,
        cases=["test_lost_answers_count_once"],
    ),
    Plant(
        name="projection-place-first",
        story="the writes follow a moment later",
        patches=_the_place_before_the_writes,
        suite=ProjectionCases,
        cases=["test_lost_answers_count_once"],
    ),
    Plant(
        name="switch-not-seen-by-the-runner",
        story="the runner will notice at its next start",
        patches=_switched_under_the_runner,
        suite=RebuildingCases,
        cases=["test_what_is_counted_right_before_the_switch_is_not_lost"],
    ),
    Plant(
        name="generation-remembered",
        story="which generation is read changes once a year",
        patches=_generation_remembered,
        suite=RebuildingCases,
        cases=["test_what_is_counted_right_before_the_switch_is_not_lost"],
    ),
)
