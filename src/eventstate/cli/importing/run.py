"""One import, from where the last one stopped to the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from eventstate.cli.importing.columns import Columns, rows
from eventstate.cli.importing.files import EventFile
from eventstate.machines.importing import Progress, RowImporter, Source, chunks
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store

Report = Callable[[Progress], None]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What an import did: rows in the file, those done before, and what this run added."""

    total: int
    skipped: int
    imported: int = 0
    seconds: float = 0.0
    streams: set[str] = field(default_factory=set[str])

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.imported / self.seconds if self.seconds else 0.0


def run_import(
    store: Store,
    governor: str,
    file: EventFile,
    columns: Columns,
    report: Report,
    protected: Collection[str] = (),
) -> Outcome:
    """Import what is not imported yet. ``report`` is told the progress after each commit.

    Rows of the machines named by ``protected`` are refused.

    A file of which nothing is imported yet is read once before anything is written: a bad row in the
    middle would otherwise leave half a file, and the corrected file would be another source.
    """
    source = Source(name=file.path.name, digest=file.digest(), options={"format": file.format, **columns.options})
    importer = RowImporter(store, governor, source)
    progress = drive(importer.resume()) or Progress(0, sum(1 for _ in rows(file, columns, protected=protected)))
    file.check_unchanged()
    report(progress)
    outcome = Outcome(total=progress.total, skipped=progress.rows)
    started = time.monotonic()
    if not progress.is_finished:
        for chunk in chunks(rows(file, columns, skip=progress.rows, protected=protected)):
            file.check_unchanged()
            progress = drive(importer.append(chunk, progress.total))
            outcome.imported += len(chunk)
            outcome.streams.update(row.state_id for row in chunk)
            report(progress)
    outcome.seconds = time.monotonic() - started
    return outcome
