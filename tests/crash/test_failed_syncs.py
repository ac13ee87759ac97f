"""A sync that fails once: the kernel forgets the pages, so what was written then may never reach the disk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from eventstate.testing.crashstates import crash_states
from eventstate.testing.fileoperations import Recording, Sync, SyncFolder
from eventstate.testing.filetrace import is_available
from tests.crash.inspect_store import check_file
from tests.crash.store_writer import HEIR_COMMITS
from tests.crash.survey import Verdict, survey
from tests.crash.test_power_loss import recorded

pytestmark = [
    pytest.mark.backend("sqlite"),
    pytest.mark.skipif(not is_available(), reason="strace is not installed"),
]


def failing(folder: Path, shape: str, commits: int, first: int = 1) -> Iterator[tuple[int, Recording]]:
    """A recording for each sync that can fail, from the ``first`` on, until none is met."""
    for number in count(first):
        inject = f"fsync,fdatasync:error=EIO:when={number}"
        recording = recorded(folder / f"written{number}", "full", shape, commits, inject=inject)
        if not any(isinstance(item, Sync | SyncFolder) and item.failed for item in recording.operations):
            return
        yield number, recording


LENGTHS = [(7, 1), pytest.param(25, 20, marks=[pytest.mark.torture, pytest.mark.timeout(1800)])]
"""Commits, and torn states after each operation."""


@pytest.mark.parametrize(("commits", "torn"), LENGTHS)
def test_after_any_failed_sync_what_is_acknowledged_is_durable(commits: int, torn: int, fast_folder: Path) -> None:
    problems: list[str] = []
    for number, recording in failing(fast_folder, "stubborn", commits):
        result = survey(crash_states(recording, seed=number, torn=torn), fast_folder / "state", check_file)
        if result.counts[Verdict.INTACT] != result.states:
            problems.append(f"sync {number}: {result}")
    assert number > 16
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(("commits", "torn"), LENGTHS)
def test_what_a_process_acknowledges_on_top_of_an_unsynced_commit_is_durable(
    commits: int, torn: int, fast_folder: Path
) -> None:
    problems: list[str] = []
    # The first process makes more than twelve syncs before it dies, the second one fewer than that.
    for number, recording in failing(fast_folder, "heir", commits, 12):
        acknowledged = recording.acknowledged
        before = len(acknowledged) - HEIR_COMMITS
        states = (
            state for state in crash_states(recording, seed=number, torn=torn) if len(state.acknowledged) > before
        )
        result = survey(states, fast_folder / "state", check_file)
        if result.counts[Verdict.INTACT] != result.states:
            problems.append(f"sync {number}: {result}")
    assert number > 16
    assert not problems, "\n".join(problems)
