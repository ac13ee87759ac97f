"""Migrations that are killed: every document is changed once by every step."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import eventstate
from eventstate import AppendTo, Event, JobMigrator, StateMachinePersister, open_store
from tests.jobs.migration_worker import STEPS

pytestmark = [pytest.mark.serial, pytest.mark.backend("sqlite")]


def make(url: str, jobs: int, tasks: int) -> None:
    with open_store(url) as store:
        for job in range(jobs):
            streams = {"job": {"tasks": tasks, "schema": 1}, **{f"main:{n}": {"status": n} for n in range(tasks)}}
            persister = StateMachinePersister(store, governor=f"jobs/{job}")
            persister.append_together(
                *(AppendTo(id, Event("saved", state=state), expected=0) for id, state in streams.items())
            )


def kill(url: str, after: int) -> bool:
    """Kill a migration right after so many commits; False if it was done before."""
    folders = (Path(eventstate.__file__).parents[1], Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-m", "tests.jobs.migration_worker", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for _ in range(after):
            if not process.stdout.readline():
                assert process.wait() == 0
                return False
        process.kill()
    return True


def kill_migrations(url: str, jobs: int, tasks: int) -> int:
    """Kill one after the other until all is done; how many."""
    make(url, jobs, tasks)
    chance, kills = random.Random(5), 0
    while kill(url, chance.randint(1, 6)):
        kills += 1
        check(url, jobs, tasks, done=False)
    check(url, jobs, tasks, done=True)
    return kills


def check(url: str, jobs: int, tasks: int, *, done: bool) -> None:
    with open_store(url) as store:
        for job in range(jobs):
            persister = StateMachinePersister(store, governor=f"jobs/{job}")
            version = persister.load("job").data.get("migrated", 0)
            finished = [step.version for step in STEPS].index(version) + 1 if version else 0
            times = {persister.load(f"main:{task}").data.get("times", 0) for task in range(tasks)}
            assert times <= {finished, finished + 1}, "a step is carried out once, and none before the one before it"
            if done:
                assert (version, times) == (101, {2})
                assert persister.validate_consistency().is_consistent
                assert JobMigrator(store, STEPS).plan(f"{job}").current == 1


def test_a_migration_that_is_killed_changes_nothing_twice(tmp_path: Path) -> None:
    assert kill_migrations(f"sqlite:///{tmp_path / 'jobs.db'}?durability=off", 2, 60) >= 2


@pytest.mark.torture
def test_a_migration_that_is_killed_again_and_again_changes_nothing_twice(tmp_path: Path) -> None:
    assert kill_migrations(f"sqlite:///{tmp_path / 'jobs.db'}?durability=off", 8, 110) >= 15
