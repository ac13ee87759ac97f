"""The closing report counts tests per backend and says what did not run, with and without xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import pytest
from tests.reporting import NOT_RUN

@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_both(backend): pass

@pytest.mark.backend("sqlite")
def test_marked(): pass

@pytest.mark.backend("firestore")
def test_firestore(emulator_host): pass

def test_pure(pytestconfig):
    pytestconfig.stash[NOT_RUN].append("the disk test: no loop device")
"""


def run(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_some.py").write_text(TESTS)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVENTSTATE_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), "-p", "tests.conftest"]
    return subprocess.run(
        [*command, "--import-mode=importlib", "--no-emulator", *options, str(folder)],
        env=kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_counts_and_absences_are_said_at_the_end(tmp_path: Path, workers: str) -> None:
    ended = run(tmp_path, "-n", workers)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "memory 1, sqlite 2, firestore emulator 0, without a store 1" in ended.stdout
    absent = ended.stdout.partition("DID NOT RUN")[2]
    assert "the disk test: no loop device" in absent
    assert "1 test: no Firestore emulator: --no-emulator was given" in absent


def test_one_summary_spans_several_runs(tmp_path: Path) -> None:
    totals = f"--totals={tmp_path / 'build' / 'totals.json'}"
    run(tmp_path, "-n", "2", "-k", "test_both", totals)
    ended = run(tmp_path, "-k", "not test_both", totals)
    assert "memory 1, sqlite 2, firestore emulator 0, without a store 1" in ended.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_required_emulator_that_is_absent_fails_the_run(tmp_path: Path, workers: str) -> None:
    ended = run(tmp_path, "-n", workers, EVENTSTATE_REQUIRE="emulator")
    assert ended.returncode != 0
    assert "EVENTSTATE_REQUIRE=emulator, but no Firestore emulator" in ended.stdout + ended.stderr
