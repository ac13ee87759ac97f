"""Bugs in time travel: in what a fork leaves behind, and in what a replay looks at."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.core.documents import Operation
from eventstate.log import replaying
from eventstate.log.replaying import ReplayChecker
from eventstate.machines import comparing
from eventstate.machines.forking import Forking
from eventstate.testing.conformance.time_travel import DiffCases, ForkCases, ReplayCases
from eventstate.testing.planted.plant import Patch, Plant


def _without_pin() -> list[Patch]:
    def pin(_self: Forking, _state: Any, _child: str, _token: str) -> Sequence[Operation]:
        return ()

    return [(Forking, "_pin", pin)]


def _heads_alone() -> list[Patch]:
    async def snapshot(_self: ReplayChecker, _walk: Any, _version: int) -> None:
        return

    return [(ReplayChecker, "_snapshot", snapshot)]


def _equal_enough() -> list[Patch]:
    def differences(before: Any, after: Any) -> list[Any]:
        return [] if before == after else exact(before, after)

    exact = comparing.differences
    return [(comparing, "differences", differences)]


def _same_keys() -> list[Patch]:
    def same(_fold: Any, left: Any, right: Any) -> bool:
        return type(left) is type(right)

    return [(replaying, "same_state", same)]


TIME_TRAVEL_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="fork-without-a-pin",
        story="the fork has its own state",
        patches=_without_pin,
        suite=ForkCases,
        cases=["test_a_fork_pins_its_parent_until_it_is_released"],
    ),
    Plant(
        name="replay-of-heads-alone",
        story="what counts is the present state",
        patches=_heads_alone,
        suite=ReplayCases,
        cases=["test_changed_code_is_named_at_every_version_that_was_recorded"],
    ),
    Plant(
        name="replay-of-types-alone",
        story="a state of the right type is the right state",
        patches=_same_keys,
        suite=ReplayCases,
        cases=["test_changed_code_is_named_at_every_version_that_was_recorded"],
    ),
    Plant(
        name="difference-by-equality",
        story="1 equals 1.0",
        patches=_equal_enough,
        suite=DiffCases,
        cases=["test_a_difference_is_exact"],
    ),
)
