"""migrate."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate import StateMachinePersister, open_store
from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")

STEPS = ("--steps", "tests.cli.steps:STEPS")


@pytest.fixture
def jobs(cli: Cli) -> Cli:
    """Three jobs with a status each, one of them deleted."""
    with open_store(cli.url) as store:
        for job in ("a", "b", "gone"):
            persister = StateMachinePersister(store, governor=f"jobs/{job}")
            persister.save_state("job", {"tasks": 1, "schema": 1}, expected=0)
            persister.save_state("main:0", {"status": 1, "payload": 2}, expected=0)
        persister.delete_state("job", expected=1)
    return cli


def payload(cli: Cli, job: str) -> Any:
    return cli("load", "main:0", "--governor", f"jobs/{job}", "--json").json["data"]["payload"]


def test_all_jobs(jobs: Cli) -> None:
    plan = jobs("migrate", *STEPS, "--dry-run", "--json").json
    totals = {"target": 100, "jobs": 3, "migrated": 2, "current": 0, "deleted": 1, "statuses": 2}
    assert plan == {"dry_run": True, **totals, "by_version": {"100": 2}}
    assert payload(jobs, "a") == 2
    assert jobs("migrate", *STEPS, "--json").json == {**plan, "dry_run": False}
    assert payload(jobs, "a") == payload(jobs, "b") == 120
    assert jobs("migrate", *STEPS, "--json").json["current"] == 2


def test_what_it_says(jobs: Cli) -> None:
    assert jobs("migrate", *STEPS, "--dry-run").out.splitlines()[0] == "2 jobs would be brought to version 100"
    assert jobs("migrate", *STEPS, "--limit", "1").out.splitlines() == [
        "1 job brought to version 100",
        "0 jobs of it already, 0 jobs deleted",
        "step to version 100: 1 job",
        "1 changes of statuses",
    ]
    assert (payload(jobs, "a"), payload(jobs, "b")) == (120, 2)


def test_one_job_and_a_target(jobs: Cli) -> None:
    assert jobs("migrate", *STEPS, "--job", "b", "--target", "1", "--json").json["current"] == 1
    assert jobs("migrate", *STEPS, "--job", "b", "--json").json["migrated"] == 1
    assert (payload(jobs, "a"), payload(jobs, "b")) == (2, 120)


def test_what_can_not_be_migrated(jobs: Cli) -> None:
    jobs("migrate", *STEPS)
    assert jobs("migrate", "--json", code=1).error["type"] == "SchemaNewerError"
    for job in ("nobody", "gone"):
        assert jobs("migrate", "--job", job, "--json", code=3).error["type"] == "JobNotFoundError"
    assert jobs("migrate", "--target", "7", "--json", code=2).error["type"] == "InvalidInputError"
    for steps in ("nowhere:STEPS", "tests.cli.steps:in_seconds", "tests.cli.steps", "tests.cli.steps:NONE"):
        assert jobs("migrate", "--steps", steps, "--json", code=2).error["type"] == "ConfigurationError"
