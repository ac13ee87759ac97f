"""A store that loses power after any operation: with durability=full nothing acknowledged is ever lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from eventstate.errors import EventStateError
from eventstate.testing.crashstates import CrashState, crash_states
from eventstate.testing.fileoperations import Recording, Sync, SyncFolder
from eventstate.testing.filetrace import is_available, record
from tests.crash import store_writer
from tests.crash.inspect_store import check_file, check_store, judge, read_events
from tests.crash.store_writer import SHAPES
from tests.crash.survey import Survey, Verdict, survey
from tests.crash.tally import FILE, open_tallies, persister_on

pytestmark = [
    pytest.mark.backend("sqlite"),
    pytest.mark.skipif(not is_available(), reason="strace is not installed"),
]

# The library opens a file a hundred times slower than SQLite does: it judges one state of so many, at no regular step.
SAMPLE = 97


def recorded(folder: Path, durability: str, shape: str, commits: int = 32, *, inject: str | None = None) -> Recording:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, store_writer.__file__, str(folder), durability, shape, str(commits)]
    return record(command, folder, inject=inject)


def sampled(states: Iterator[CrashState], step: int = SAMPLE) -> Iterator[CrashState]:
    return islice(states, 0, None, step)


def all_intact(recording: Recording, folder: Path, *, seed: int, torn: int) -> Survey:
    """Judge every state by its rows, and some by the library."""
    result = survey(crash_states(recording, seed=seed, torn=torn), folder, check_file)
    print(len(recording.operations), "operations,", result)
    assert result.counts[Verdict.INTACT] == result.states, result
    opened = survey(sampled(crash_states(recording, seed=seed, torn=torn)), folder, check_store)
    assert opened.counts[Verdict.INTACT] == opened.states, opened
    return result


@pytest.mark.timeout(600)
@pytest.mark.parametrize("shape", SHAPES)
def test_full_durability_loses_nothing(shape: str, fast_folder: Path) -> None:
    recording = recorded(fast_folder / "written", "full", shape)
    assert len(recording.acknowledged) >= 32
    result = all_intact(recording, fast_folder / "state", seed=1, torn=10)
    assert result.states > 2000


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shape", SHAPES)
def test_full_durability_loses_nothing_for_long(shape: str, fast_folder: Path) -> None:
    for seed in range(10):
        recording = recorded(fast_folder / f"written{seed}", "full", shape, 40)
        all_intact(recording, fast_folder / "state", seed=seed, torn=30)


def test_a_second_power_loss_during_the_recovery_loses_nothing(fast_folder: Path) -> None:
    first = recorded(fast_folder / "written", "full", "one_by_one")
    torn = [state for state in crash_states(first, seed=2, torn=1) if state.mode == "torn"]
    for number, state in enumerate(torn[:: len(torn) // 6]):
        folder = fast_folder / f"again{number}"
        folder.mkdir()
        state.write_to(folder)
        second = recorded(folder, "full", "one_by_one", 6)
        states = (
            replace(later, acknowledged=(*state.acknowledged, *later.acknowledged))
            for later in crash_states(second, seed=number, torn=2)
        )
        result = survey(states, fast_folder / "state", check_file)
        assert result.counts[Verdict.INTACT] == result.states, result


@pytest.mark.parametrize("shape", SHAPES)
def test_normal_durability_may_lose_the_last_commits_but_never_corrupts(shape: str, fast_folder: Path) -> None:
    recording = recorded(fast_folder / "written", "normal", shape)
    result = survey(crash_states(recording, seed=1, torn=2), fast_folder / "state", check_file)
    assert result.counts[Verdict.CORRUPT] == 0, result
    assert result.counts[Verdict.LOST] > 50, result
    kept = survey(crash_states(recording, seed=1, torn=0), fast_folder / "state", process_crash)
    assert kept.counts[Verdict.INTACT] == kept.states, kept


def process_crash(state: CrashState, folder: Path) -> Verdict:
    return check_file(state, folder) if state.mode == "kept" else Verdict.INTACT


def test_without_durability_a_power_loss_shows(fast_folder: Path) -> None:
    recording = recorded(fast_folder / "written", "off", "one_by_one")
    result = survey(crash_states(recording, seed=1, torn=2), fast_folder / "state", check_file)
    assert result.counts[Verdict.CORRUPT] > 50, result
    assert result.counts[Verdict.LOST] > 50, result


def test_what_a_lying_disk_destroyed_is_noticed_and_never_served(fast_folder: Path) -> None:
    honest = recorded(fast_folder / "written", "full", "one_by_one")
    operations = [operation for operation in honest.operations if not isinstance(operation, Sync | SyncFolder)]
    lying = Recording(initial=honest.initial, operations=operations)
    result = survey(sampled(crash_states(lying, seed=1, torn=6), 3), fast_folder / "state", never_served)
    assert result.counts[Verdict.CORRUPT] > 50, result


def never_served(state: CrashState, folder: Path) -> Verdict:
    """Read by the library: what it gives is what was written, or it raises one of its own errors."""
    if FILE not in state.files:
        return Verdict.INTACT
    try:
        with open_tallies(folder) as store:
            events = read_events(persister_on(store))
    except EventStateError:
        return Verdict.CORRUPT
    assert judge(events, (line for line in state.acknowledged if served(events, line))) is Verdict.INTACT
    return Verdict.INTACT


def served(events: dict[tuple[str, int], tuple[int, str]], line: str) -> bool:
    id, version, *_ = line.split()
    return (id, int(version)) in events
