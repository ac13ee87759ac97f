"""When a snapshot is taken and which ones are kept."""

from __future__ import annotations

from dataclasses import dataclass

from eventstate.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPolicy:
    """A snapshot each time the version passes a multiple of ``every``; the newest ``keep`` remain.

    ``every=0`` takes none by itself.
    """

    every: int = 100
    keep: int = 5

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ConfigurationError(f"snapshot_every={self.every}: use 0 for none, or a number of events")
        if self.keep < 1:
            raise ConfigurationError(f"keep_snapshots={self.keep}: at least 1 must remain")

    def due(self, before: int, after: int) -> bool:
        """Whether an append from version ``before`` to ``after`` passes a multiple."""
        return self.every > 0 and after // self.every > before // self.every

    def split(self, snapshots: tuple[int, ...], base: int | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The versions kept and the versions dropped, both ascending; ``base`` is kept beside the newest ones."""
        ordered = sorted(set(snapshots))
        dropped = tuple(version for version in ordered[: -self.keep] if version != base)
        return tuple(version for version in ordered if version not in dropped), dropped
