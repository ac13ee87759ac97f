"""Readable failures for assertions that live in the package, and a folder for many small commits."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventstate

pytest.register_assert_rewrite("eventstate.testing.conformance")

MEMORY = Path("/dev/shm")


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory where the system has such."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="eventstate-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def children_find_this_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes import the package and the tests from where this process does."""
    folders = (Path(eventstate.__file__).parents[1], Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
