"""What a transfer of streams has done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from eventstate.core.exports import Counts


@dataclass(slots=True, kw_only=True)
class TransferReport:
    """What was written, to a file or a store; while it is under way, what has been read so far of it.

    Attributes:
        streams: written, or brought up to date.
        streams_there: complete in the target before.
        streams_behind: grown in the source while they were copied; copy again to bring the rest over.
        entries, events: commits with events, and the events in them.
        snapshots: kept states.
        commands: idempotency keys.
        documents: documents of users.
        expected_streams: how many streams there are, where a file says so.
    """

    streams: int = 0
    streams_there: int = 0
    streams_behind: int = 0
    entries: int = 0
    events: int = 0
    snapshots: int = 0
    commands: int = 0
    documents: int = 0
    expected_streams: int | None = None

    @property
    def total_streams(self) -> int:
        """Those looked at."""
        return self.streams + self.streams_there

    @property
    def counts(self) -> Counts:
        """As a file names them."""
        return Counts(self.streams, self.entries, self.events, self.snapshots, self.commands, self.documents)


TransferProgress: TypeAlias = Callable[[TransferReport], None]
"""Called with the report so far, now and then."""
