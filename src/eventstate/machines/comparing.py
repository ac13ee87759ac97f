"""Two states side by side: of one stream at two versions or times, or of two streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import orjson

from eventstate.core.delta import diff
from eventstate.core.differences import Difference, differences
from eventstate.errors import InvalidInputError
from eventstate.machines.core import PersisterCore
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot


class At:
    """A state at a version or time; the current one if neither is given.

    ``At(orders, "42", version=3)``, ``At("order-42", time=noon)``. Version 0 is the state before the first event.
    """

    __slots__ = ("id", "target", "time", "version")

    def __init__(
        self,
        target: Machine[Any, Any] | str,
        id: str | None = None,
        *,
        version: int | None = None,
        time: datetime | None = None,
    ) -> None:
        self.target = target
        self.id = id
        self.version = version
        self.time = time


Place: TypeAlias = At | StateSnapshot[Any] | str
"""What can be compared: a state that was loaded, one to be loaded, or the current one of a state id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDiff:
    """How two states differ.

    Attributes:
        before, after: the two states.
        delta: what turns the first into the second, as JSON data; see *Delta* in the storage format. ``{}``: nothing.
        changes: the same for people, one line for each place.
    """

    before: StateSnapshot[Any]
    after: StateSnapshot[Any]
    delta: Any
    changes: Sequence[Difference]

    @property
    def is_same(self) -> bool:
        return not self.changes


async def compare(core: PersisterCore, a: Place, b: Place) -> StateDiff:
    """How two states differ, as the JSON that they are stored as.

    Raises:
        StateNotFoundError, StateDeletedError, VersionNotFoundError: one of them does not exist.
    """
    before, after = await _opened(core, a), await _opened(core, b)
    left, right = _plain(core, before), _plain(core, after)
    delta = diff(left, right)
    changes = differences(left, right)
    is_typed = type(before.data) is type(after.data) and not core.fold_of(after.id).is_plain
    if is_typed and before.data == after.data:  # sets may differ in the order of their texts alone
        delta, changes = {}, []
    return StateDiff(before=before, after=after, delta=delta, changes=changes)


async def _opened(core: PersisterCore, place: Place) -> StateSnapshot[Any]:
    if isinstance(place, StateSnapshot):
        return place
    if isinstance(place, str):
        place = At(place)
    if not isinstance(place, At):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"{place!r} can't be compared: pass At(...), a loaded state or a state id")
    state_id = core.resolve(place.target, place.id)
    if place.version == 0 and place.time is None:
        return StateSnapshot(id=state_id, data=core.fold_of(state_id).bare.initial())
    return await core.load(state_id, at_version=place.version, at_time=place.time)


def _plain(core: PersisterCore, state: StateSnapshot[Any]) -> Any:
    return orjson.loads(core.fold_of(state.id).bare.dump(state.data))
