"""When a snapshot is taken and which ones are kept."""

from __future__ import annotations

from eventstate.errors import ConfigurationError

MAX_DROPPED = 20
"""Snapshots that one append drops: where fewer are to be kept than before, the others go with the next ones."""


class SnapshotPolicy:
    """A snapshot each time the version passes a multiple of ``every``; the newest ``keep`` remain.

    ``every=0`` takes none by itself.
    """

    __slots__ = ("every", "keep")

    def __init__(self, *, every: int = 100, keep: int = 5) -> None:
        if every < 0:
            raise ConfigurationError(f"snapshot_every={every}: use 0 for none, or a number of events")
        if keep < 1:
            raise ConfigurationError(f"keep_snapshots={keep}: at least 1 must remain")
        self.every = every
        self.keep = keep

    def due(self, before: int, after: int) -> bool:
        """Whether an append from version ``before`` to ``after`` passes a multiple."""
        return self.every > 0 and after // self.every > before // self.every

    def split(self, snapshots: tuple[int, ...], base: int | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The versions kept and the versions dropped, both ascending; ``base`` is kept beside the newest ones."""
        ordered = sorted(set(snapshots))
        dropped = tuple(version for version in ordered[: -self.keep] if version != base)[:MAX_DROPPED]
        return tuple(version for version in ordered if version not in dropped), dropped
