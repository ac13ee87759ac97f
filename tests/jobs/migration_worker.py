"""A process that migrates the jobs of a store, and says so after each commit.

python -m tests.jobs.migration_worker URL
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from eventstate import JobDocument, JobMigrator, Migration, MigrationReport, open_store


def once_more(document: JobDocument) -> Mapping[str, Any]:
    """Counts how often it was carried out: any doubling shows."""
    return {**document.state, "times": document.state.get("times", 0) + 1}


STEPS = [Migration(version=version, name="once more", change=once_more) for version in (100, 101)]


def main(url: str) -> None:
    with open_store(url) as store:
        told: list[tuple[int, int]] = [(0, 0)]

        def tell(report: MigrationReport) -> None:
            done = (report.statuses, sum(report.by_version.values()))
            if done != told[-1]:  # not for jobs that there is nothing to do for
                told.append(done)
                print("committed", flush=True)

        JobMigrator(store, STEPS).migrate(progress=tell)


if __name__ == "__main__":
    main(sys.argv[1])
