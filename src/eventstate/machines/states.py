"""What callers get: states at versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast

import orjson

from eventstate.core.causality import VectorClock, stored_clock
from eventstate.core.format import NO_STATE, Tip
from eventstate.core.instants import EPOCH, utc_of
from eventstate.core.metadata import NO_METADATA, ChangeMetadata, metadata_from_plain
from eventstate.log.reading import Known

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSnapshot(Generic[S]):
    """A state at a version.

    Attributes:
        id: the full state id, such as ``order-42``.
        data: the state; it is the caller's own, changing it changes nothing stored.
        version: events so far; 0 for a state that was never saved.
        timestamp: when its last event was recorded, aware UTC; 1970 for a state that was never saved.
        metadata: who, why and in what context, of its last event.
        causality: the vector clock after its last event.
        action: the type of its last event.
        recovered: True when it was rebuilt from events because no kept state could be used.
        position: the place of the commit in store order, right after a write where the store has one.
    """

    id: str
    data: S
    version: int = 0
    timestamp: datetime = EPOCH
    metadata: ChangeMetadata = NO_METADATA
    causality: VectorClock = field(default_factory=VectorClock)
    action: str = ""
    recovered: bool = False
    position: int | None = None
    known: Known | None = field(default=None, repr=False, compare=False)

    @classmethod
    def new(cls, id: str, data: S, metadata: ChangeMetadata = NO_METADATA) -> StateSnapshot[S]:
        """A state not saved yet: version 0."""
        return cls(id=id, data=data, metadata=metadata)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # A slot that `written_state` has left empty: most callers look at few of them.
            make = _MADE_LATER.get(name)
            if make is None or self.known is None or self.known.tip is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            value = make(self.known)
            object.__setattr__(self, name, value)
            return value


def written_state(known: Known, tip: Tip, data: Any, action: str, position: int | None) -> StateSnapshot[Any]:
    """A state just written, as ``known`` describes it at its ``tip``; `NO_STATE` as data: that of its image."""
    state: StateSnapshot[Any] = object.__new__(cast("type[StateSnapshot[Any]]", StateSnapshot))
    fill = object.__setattr__
    fill(state, "id", tip.id)
    fill(state, "version", tip.version)
    fill(state, "action", action)
    fill(state, "recovered", False)
    fill(state, "position", position)
    fill(state, "known", known)
    if data is not NO_STATE:
        fill(state, "data", data)
    return state


def _tip(known: Known) -> Tip:
    assert known.tip is not None
    return known.tip


def _data(known: Known) -> Any:
    image = known.image
    assert image is not None
    assert image.state is not None
    return orjson.loads(image.state)


_MADE_LATER: Final[Mapping[str, Callable[[Known], Any]]] = {
    "data": _data,
    "timestamp": lambda known: utc_of(_tip(known).at),
    "metadata": lambda known: metadata_from_plain(known.metadata, _tip(known).version - 1),
    "causality": lambda known: stored_clock(_tip(known).clock),
}


class StatePage(NamedTuple):
    """Some states, and the id to pass as ``after`` for the next ones (None at the end)."""

    states: Sequence[StateSnapshot[Any]]
    next: str | None
