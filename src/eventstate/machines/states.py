"""What callers get: states at versions, and the transitions between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeVar, cast

import orjson

from eventstate.core.causality import VectorClock, stored_clock
from eventstate.core.documents import made
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One event of a stream's history, with the states around it.

    Attributes:
        data: the typed event, or its plain data where no machine declares it; None where it has none.
        from_state, to_state: the states before and after; None before the first event and after a
            deletion, and for typed events whose machine is not given (``rebuilt`` is False then).
        timestamp: when it was recorded, aware UTC, never before that of an earlier version.
        occurred_at: when it happened, where that was said.
    """

    state_id: str
    version: int
    action: str
    data: Any
    from_state: Any
    to_state: Any
    timestamp: datetime
    metadata: ChangeMetadata
    causality: VectorClock
    rebuilt: bool = True

    @property
    def occurred_at(self) -> datetime | None:
        return self.metadata.occurred_at

    @property
    def effective_at(self) -> datetime:
        """When it happened, or else when it was recorded: what ``at_time`` looks at."""
        return self.metadata.occurred_at or self.timestamp


class StatePage(NamedTuple):
    """Some states, and the id to pass as ``after`` for the next ones (None at the end)."""

    states: Sequence[StateSnapshot[Any]]
    next: str | None


class RecoveredState(NamedTuple):
    """One stream met by `recover`.

    ``status``: ``current`` (its head is good), ``rebuilt`` (head passed over, state replayed from the
    log), ``deleted``, or ``lost`` (neither head nor log give a state; ``problem`` says why).
    """

    id: str
    version: int
    data: Any
    status: Literal["current", "rebuilt", "deleted", "lost"]
    problem: str | None = None


def current(id: str, version: int, data: Any) -> RecoveredState:
    """One stream whose head is good."""
    return made(RecoveredState, (id, version, data, "current", None))


@dataclass(slots=True, kw_only=True)
class RecoveryReport:
    """Totals of a recovery."""

    current: int = 0
    rebuilt: int = 0
    deleted: int = 0
    lost: int = 0
    problems: list[str] = field(default_factory=list[str])
    """The first 100 problems met."""

    @property
    def total(self) -> int:
        return self.current + self.rebuilt + self.deleted + self.lost

    def count(self, item: RecoveredState) -> None:
        """Add one stream to the totals."""
        setattr(self, item.status, getattr(self, item.status) + 1)
        if item.problem is not None and len(self.problems) < 100:
            self.problems.append(item.problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """Numbers of one governor."""

    total_states: int
    deleted_states: int
    total_events: int
    total_versions: int
    max_version: int
    total_snapshots: int
    states_by_machine: dict[str, int]
