"""The examples run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
EXPECTED = {
    "parcel.py": ["Collected(by='van 7')", "legal next: Moved, Delivered"],
    "many_machines.py": ["2200 events of 200 lights", "200 current, 0 rebuilt, 0 lost", "consistent: True"],
    "job_tools.py": ["lint-1 completed", "lint-3 failed: 1 line is too long", "slow-1 timeout", "5 jobs"],
    "pipeline.py": ["25 completed", "2 workers killed", "0 problems"],
    "lost_answers.py": ["6 answers lost, version 6", "counts: [0, 1, 2, 3, 4, 5]"],
}


ARGUMENTS = {"pipeline.py": ["20", "2"]}
"""A short form; the whole is a long run of tests/jobs/test_pipeline.py."""


def run(name: str, folder: Path) -> str:
    command = [sys.executable, str(FOLDER / name), *ARGUMENTS.get(name, [])]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60).stdout


def test_every_example_is_run() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.py")) == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str, tmp_path: Path) -> None:
    printed = run(name, tmp_path)
    assert [text for text in EXPECTED[name] if text not in printed] == []


def test_the_parcel_goes_on_where_it_was(tmp_path: Path) -> None:
    runs = [run("parcel.py", tmp_path).splitlines()[-1] for _ in range(7)]
    assert [line.split("status='")[1].split("'")[0] for line in runs] == ["moving"] * 4 + ["delivered"] * 3
