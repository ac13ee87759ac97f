"""A disk that is full at the very end of an export: a typed error, and no half a file, which may be decrypted."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstate import InvalidInputError, StateMachinePersister, StreamTransfer, open_store


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files can't grow beyond a hundred bytes."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz"])
def test_an_export_onto_a_full_disk_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    with open_store("memory://") as store:
        StateMachinePersister(store).save_state("order-1", {"paid": 30}, expected=0)
        with pytest.raises(InvalidInputError, match="can't be written"):
            StreamTransfer(store).export_file(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
