"""Which events may go: rules by age, number and snapshots, and the cut they come to in one stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from eventstate.core.format import DELETED, REOPENED, Base, Entry, Tip
from eventstate.core.ids import check_machine_name, machine_of
from eventstate.errors import ConfigurationError

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """Which events of a stream may be pruned: those that every given rule lets go. Without a rule none.

    The last entry of a stream always stays, and so does what is pinned.

    Attributes:
        max_age: events recorded longer ago may go.
        keep_last: so many of the last versions stay.
        keep_snapshots: all events since the newest snapshot stay (1), since the one before it (2), and so on; a
            stream with fewer snapshots keeps all.
    """

    max_age: timedelta | None = None
    keep_last: int | None = None
    keep_snapshots: int | None = None

    def __post_init__(self) -> None:
        if self.max_age is not None and self.max_age <= timedelta():
            raise ConfigurationError(f"max_age={self.max_age}: must be longer than nothing")
        for name in ("keep_last", "keep_snapshots"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigurationError(f"{name}={value!r}: must be a number from 1")

    @property
    def prunes(self) -> bool:
        """Whether it has any rule."""
        return self != RetentionPolicy()

    def limit(self, tip: Tip) -> int:
        """The last version that its rules let go, but for its age."""
        if not self.prunes:
            return 0
        limit = tip.version - 1
        if self.keep_last is not None:
            limit = min(limit, tip.version - self.keep_last)
        if self.keep_snapshots is not None:
            kept = tip.snapshots[-self.keep_snapshots :]
            limit = min(limit, kept[0] if len(kept) == self.keep_snapshots else 0)
        return limit

    def horizon(self, now: int) -> int | None:
        """Events recorded at or after this time stay; None for no such rule."""
        return None if self.max_age is None else now - self.max_age // _MICROSECOND


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies of one governor: by machine, and one for all other streams."""

    default: RetentionPolicy
    machines: Mapping[str, RetentionPolicy]

    def __post_init__(self) -> None:
        for name in self.machines:
            check_machine_name(name)

    def of(self, id: str) -> RetentionPolicy:
        """The policy for a stream."""
        return self.machines.get(machine_of(id), self.default)


@dataclass(slots=True)
class Cut:
    """Follows the entries of a stream from its base on, and finds where it may begin anew.

    Attributes:
        base: the last boundary that can be cut at; None so far.
        at: when the entry there was recorded.
        events, size: how many events go with it, and the bytes of their entries.
        reopened: how often the stream was reopened in them.
    """

    limit: int
    horizon: int | None
    base: Base | None = None
    at: int = 0
    events: int = 0
    size: int = 0
    reopened: int = 0
    _seen: tuple[int, int, int] = (0, 0, 0)

    def takes(self, entry: Entry, size: int) -> bool:
        """Whether an entry may go, so that the one after it is looked at too."""
        if entry.version > self.limit or (self.horizon is not None and entry.at >= self.horizon):
            return False
        events, sizes, reopened = self._seen
        reopened += sum(event["type"] == REOPENED for event in entry.events)
        self._seen = (events + len(entry.events), sizes + size, reopened)
        # A base holds a state; after a tombstone there is none.
        if entry.events[-1]["type"] != DELETED:
            self.base, self.at = Base(entry.version, entry.digest), entry.at
            self.events, self.size, self.reopened = self._seen
        return True


def kept_snapshots(snapshots: Iterable[int], base: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The snapshots that a stream lists once it begins at ``base``, and those that go."""
    known = sorted({*snapshots, base})
    return tuple(n for n in known if n >= base), tuple(n for n in known if n < base)
