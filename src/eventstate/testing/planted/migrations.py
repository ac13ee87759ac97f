"""Bugs in migrations: in what is known of how far one has come."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.jobs.migrations import migrating
from eventstate.testing.conformance.migrating import MigrationCases
from eventstate.testing.planted.plant import Patch, Plant


def _place_in_memory() -> list[Patch]:
    def after(self: migrating._Job, place: Any) -> Any:
        # The same object goes from page to page; another run begins anew.
        known = place is not None and getattr(self, "_was_here", False)
        object.__setattr__(self, "_was_here", True)
        return whole(self, place) if known else None

    whole = migrating._Job._after
    return [(migrating._Job, "_after", after)]


def _stamp_alone() -> list[Patch]:
    async def status_changed(_self: migrating._Job, _transaction: Any, _step: Any, _id: str) -> bool:
        return False

    return [(migrating._Job, "_status_changed", status_changed)]


def _blind_to_others() -> list[Patch]:
    def schema(_record: Any) -> int:
        return 1

    return [(migrating, "_schema", schema)]


def _never_newer() -> list[Patch]:
    def schema(record: Any) -> int:
        return min(record.get("schema", 0), 101)

    return [(migrating, "_schema", schema)]


MIGRATION_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="migration-that-only-stamps",
        story="the number is what counts",
        patches=_stamp_alone,
        suite=MigrationCases,
        cases=["test_a_job_is_brought_to_the_newest_version"],
    ),
    Plant(
        name="migration-with-its-place-in-memory",
        story="a run is not broken off",
        patches=_place_in_memory,
        suite=MigrationCases,
        cases=["test_a_run_that_dies_between_two_commits_changes_nothing_twice"],
    ),
    Plant(
        name="migration-that-begins-again",
        story="whoever runs it a second time knows that it is needed",
        patches=_blind_to_others,
        suite=MigrationCases,
        cases=["test_runs_at_the_same_time"],
    ),
    Plant(
        name="migration-of-newer-jobs",
        story="what is newer than we are is new enough",
        patches=_never_newer,
        suite=MigrationCases,
        cases=["test_jobs_that_can_not_be_migrated"],
    ),
)
