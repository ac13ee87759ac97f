"""Reporters that are killed: the view is there again, and is the fold of what was recorded."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import eventstate
from eventstate import OrchestrationLog, StateMachinePersister, open_store
from eventstate.jobs.view.fold import View, fold
from eventstate.jobs.view.machine import ORCHESTRATIONS
from eventstate.jobs.view.snapshot import snapshot_of
from tests.jobs.orchestration_reporter import reported

pytestmark = [pytest.mark.serial, pytest.mark.backend("sqlite")]

SEEDS = (3, 4)
"""Two reporters of one run, at the same time."""


def start(url: str, seed: int) -> subprocess.Popen[str]:
    folders = (Path(eventstate.__file__).parents[1], Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-m", "tests.jobs.orchestration_reporter", url, "run", str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def acknowledged(process: subprocess.Popen[str], wanted: int) -> int:
    """Read until so many events were acknowledged, kill the process at once; how many there were in the end."""
    assert process.stdout is not None
    last = -1
    while last + 1 < wanted:
        line = process.stdout.readline()
        assert line, "the reporter ended by itself"
        last = int(line)
    process.kill()
    rest = [int(line) for line in process.stdout.read().split("\n")[:-1]]
    process.stdout.close()
    process.wait()
    return max([last, *rest]) + 1


def check_run(url: str, counts: dict[int, int]) -> None:
    """Fail unless all that was acknowledged is recorded, once and in its order, and the view is the fold of it."""
    with open_store(url) as store:
        log = OrchestrationLog(store, "run")
        events = list(log.events())
        assert log.snapshot() == snapshot_of(fold(events), False)
        assert log.rebuild() == log.snapshot()
        for seed, count in counts.items():
            own = [event for event in events if event.id is not None and event.id.startswith(f"{seed}-")]
            assert own == [reported(seed, number) for number in range(len(own))]
            assert count <= len(own)
        persister = StateMachinePersister(store, governor="jobs", machines=[ORCHESTRATIONS])
        steps = list(persister.history(ORCHESTRATIONS, "run"))
        for number in {1, len(steps) // 2, len(steps)}:
            assert steps[number - 1].to_state == fold(events[:number]), "every commit carried its view"
        assert persister.validate_consistency().is_consistent
        assert fold(()) == View()


def kill_reporters(url: str, lives: int) -> None:
    chance = random.Random(7)
    for _ in range(lives):
        reporters = {seed: start(url, seed) for seed in SEEDS}
        wanted = chance.randint(1, 60)
        check_run(url, {seed: acknowledged(process, wanted) for seed, process in reporters.items()})


def test_the_view_is_the_fold_of_the_log_after_every_kill(tmp_path: Path) -> None:
    kill_reporters(f"sqlite:///{tmp_path / 'run.db'}?durability=off", 3)


@pytest.mark.torture
def test_the_view_is_the_fold_of_the_log_after_many_kills(tmp_path: Path) -> None:
    kill_reporters(f"sqlite:///{tmp_path / 'run.db'}?durability=off", 25)
