"""What callers are told of many streams: those met by a recovery, totals, numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from eventstate.core.documents import made


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
