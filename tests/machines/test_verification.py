"""A verification needs no more memory for many streams than for few."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from unittest.mock import patch

import pytest

from eventstate import AppendTo, Event, SealManager, StateMachinePersister, open_store
from eventstate.log import ahead
from eventstate.log.sealing import taking

PART_BYTES = 20_000
ENTRIES = 200


def peak(file: Path, streams: int) -> int:
    """Bytes that a verification of so many sealed streams needs at most."""
    with open_store(f"sqlite:///{file}?durability=off") as store:
        persister = StateMachinePersister(store)
        for begin in range(0, streams, 100):
            ids = [f"doc-{n:06}" for n in range(begin, begin + 100)]
            persister.append_together(*(AppendTo(id, Event("saved", state={"id": id}), expected=0) for id in ids))
        with patch.object(taking, "PART_BYTES", PART_BYTES):
            SealManager(store).seal()
        verifier = StateMachinePersister(store)
        verifier.load("doc-000000")  # what is made once is made now
        tracemalloc.start()
        try:
            with patch.object(ahead, "PAGE", ENTRIES):
                report = verifier.validate_consistency()
            found = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (report.findings, report.sealed_streams) == ([], streams)
    return found


@pytest.mark.backend("sqlite")
def test_memory_does_not_grow_with_the_number_of_streams(tmp_path: Path) -> None:
    few, many = peak(tmp_path / "few.db", 300), peak(tmp_path / "many.db", 1500)
    assert many < few * 1.5, (few, many)
