"""Reporters that are killed, and watchers in other processes: nothing acknowledged is lost, nothing is told twice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from eventstate import JobClosedError, JobTasks, StateMachinePersister, open_store

ROOT = Path(__file__).parents[2]
JOB = "nightly"
TASKS = 3
PATIENCE = 60.0


def start(module: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", f"tests.jobs.{module}", *map(str, arguments)], cwd=ROOT)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def lines_of(path: Path) -> list[str]:
    """The whole lines of a log; of one that was cut off nothing."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def party(url: str, folder: Path, *, kills: int) -> None:
    """Reporters, killed so many times, and two watchers; then the job is closed."""
    random = Random(7)
    stop = folder / "stop"
    logs = [folder / f"task-{task}" for task in range(TASKS)]
    watched = [folder / f"watcher-{number}" for number in range(2)]
    with open_store(url) as store:
        tasks = JobTasks(store, JOB, tasks=TASKS)
        watchers = [start("task_watcher", url, JOB, path) for path in watched]
        wait_for(lambda: all(lines_of(path) for path in watched))
        reporters = [start("task_reporter", url, JOB, task, stop, logs[task]) for task in range(TASKS)]
        for _ in range(kills):
            task = random.randrange(TASKS)
            before = len(lines_of(logs[task]))
            wait_for(lambda task=task, before=before: len(lines_of(logs[task])) > before + 5)
            reporters[task].kill()
            reporters[task].wait()
            reporters[task] = start("task_reporter", url, JOB, task, stop, logs[task])
        stop.touch()
        for reporter in reporters:
            assert reporter.wait(PATIENCE) == 0
        closed = time.time()
        tasks.close()
        for watcher in watchers:
            assert watcher.wait(PATIENCE) == 0
        with pytest.raises(JobClosedError):
            tasks.reporter(0).report(1)
        for path in watched:
            judge(lines_of(path), logs, closed)
        persister = StateMachinePersister(store, governor=tasks.governor)
        assert persister.validate_consistency().is_consistent
        for task, status in enumerate(sorted(tasks.list(), key=lambda status: status.task)):
            history = list(persister.history(f"main:{task}"))
            assert [step.version for step in history] == list(range(1, status.version + 1))
            assert history[-1].to_state["status"] == status.status


def judge(told: Sequence[str], logs: Sequence[Path], closed: float) -> None:
    """Each version of each task once and in order, and among them all that was acknowledged."""
    first, *updates, last = told
    assert first == "subscribed"
    assert last.startswith("ended ")
    assert float(last.split()[1]) - closed < PATIENCE
    found: list[list[tuple[int, int]]] = [[] for _ in logs]
    for line in updates:
        task, version, status, _ = line.split()
        found[int(task)].append((int(version), int(status)))
    for task, log in enumerate(logs):
        assert [version for version, _ in found[task]] == list(range(1, len(found[task]) + 1))
        acknowledged = {tuple(map(int, line.split())) for line in lines_of(log)}
        assert acknowledged <= set(found[task])


@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_reporters_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    party(f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path, kills=4)


@pytest.mark.torture
@pytest.mark.backend("sqlite")
def test_reporters_that_are_killed_again_and_again(tmp_path: Path) -> None:
    party(f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path, kills=60)


@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_a_watcher_of_another_process_ends_with_the_job(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path / "log"
    with open_store(url) as store:
        tasks = JobTasks(store, JOB, tasks=1)
        tasks.reporter(0).report(5)
        watcher = start("task_watcher", url, JOB, log)
        wait_for(lambda: len(lines_of(log)) == 2)
        tasks.mark_deleted()
        assert watcher.wait(PATIENCE) == 0
    assert lines_of(log)[:3] == ["subscribed", "0 1 5 True", "0 2 0 False"]
