"""Bugs in migrations: in what is known of how far one has come."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.jobs.migrations import migrating
from eventstate.jobs.migrations.steps import Reached, Steps
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
    def reached(_job: str, _record: object) -> Reached:
        return Reached(1, 0)

    return [(migrating, "reached", reached)]


def _never_newer() -> list[Patch]:
    def check_known(_self: Steps, _job: str, _versions: Reached) -> None:
        pass

    return [(Steps, "check_known", check_known)]


def _place_for_good() -> list[Patch]:
    def incarnation(_record: Any) -> int:
        return 1

    return [(migrating, "_incarnation", incarnation)]


def _one_number() -> list[Patch]:
    def has(self: Reached, step: Any) -> bool:
        return step.version <= max(self)

    return [(Reached, "has", has)]


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
        name="migration-with-a-place-for-good",
        story="a job has one life",
        patches=_place_for_good,
        suite=MigrationCases,
        cases=["test_what_was_broken_off_says_nothing_of_a_job_begun_anew"],
    ),
    Plant(
        name="migration-with-one-number",
        story="the library's versions and the caller's never meet",
        patches=_one_number,
        suite=MigrationCases,
        cases=["test_steps_of_the_library_and_of_callers_are_counted_apart"],
    ),
    Plant(
        name="migration-of-newer-jobs",
        story="what is newer than we are is new enough",
        patches=_never_newer,
        suite=MigrationCases,
        cases=["test_jobs_that_can_not_be_migrated"],
    ),
)
