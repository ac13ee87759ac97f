"""The importer below the command: how rows are put into commits, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventstate import ChangeMetadata, StateMachinePersister, TransactionConflictError, open_store
from eventstate.machines.importing import (
    CHUNK_BYTES,
    CHUNK_STREAMS,
    MAX_ROW_BYTES,
    Progress,
    Row,
    RowImporter,
    Source,
    chunks,
    make_row,
)
from eventstate.runtime.blocking import drive
from eventstate.stores.base import MAX_BATCH_OPERATIONS, Store

SOURCE = Source(name="x.csv", digest="d", options={"action": "what"})


@pytest.fixture(params=["memory", "sqlite", "firestore"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    url = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'x.db'}"}.get(request.param)
    if url is None:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", request.getfixturevalue("emulator_host"))
        url = f"firestore://{request.getfixturevalue('project_id')}"
    with open_store(url) as store:
        yield store


def row(id: str, number: int, text: str = "") -> Row:
    return make_row(id, "counted", {"n": number, "text": text}, ChangeMetadata(changed_by=str(number)))


def test_chunks_keep_the_order_and_their_bounds() -> None:
    rows = [row(f"s{n % 300}", n, "x" * (n % 7 * 1000)) for n in range(3000)]
    parts = list(chunks(rows))
    assert [row for part in parts for row in part] == rows
    assert len(parts) > 3000 // 300
    for part in parts:
        assert len({row.state_id for row in part}) <= CHUNK_STREAMS
        assert sum(row.size for row in part) <= CHUNK_BYTES


def test_a_row_above_the_chunk_size_has_a_chunk_of_its_own() -> None:
    large = row("b", 1, "x" * (MAX_ROW_BYTES - 100))
    assert list(chunks([row("a", 0), large, row("c", 2)])) == [[row("a", 0)], [large], [row("c", 2)]]


def test_rows_and_progress_move_together(store: Store) -> None:
    rows = [row(f"s{n % 5}", n) for n in range(20)]
    first = RowImporter(store, "g", SOURCE)
    assert drive(first.resume()) is None
    assert drive(first.append(rows[:12], 20)) == Progress(12, 20)
    second = RowImporter(store, "g", SOURCE)
    assert drive(second.resume()) == Progress(12, 20)
    done = drive(second.append(rows[12:], 20))
    assert done.is_finished
    persister = StateMachinePersister(store, governor="g")
    found = list(persister.history("s3"))
    assert [event.to_state["n"] for event in found] == [3, 8, 13, 18]
    assert [event.metadata.changed_by for event in found] == ["3", "8", "13", "18"]
    assert persister.validate_consistency().is_consistent


def test_of_two_importers_one_gets_a_conflict(store: Store) -> None:
    one, other = (RowImporter(store, "g", SOURCE) for _ in range(2))
    for importer in (one, other):
        drive(importer.resume())
    drive(one.append([row("a", 1)], 2))
    with pytest.raises(TransactionConflictError):
        drive(other.append([row("a", 1)], 2))
    drive(one.append([row("a", 2)], 2))
    with pytest.raises(TransactionConflictError):
        drive(other.append([row("b", 1)], 2))
    persister = StateMachinePersister(store, governor="g")
    assert [event.to_state["n"] for event in persister.history("a")] == [1, 2]
    assert not persister.exists("b")


def test_another_writer_of_a_stream_is_no_conflict(store: Store) -> None:
    importer = RowImporter(store, "g", SOURCE)
    persister = StateMachinePersister(store, governor="g")
    drive(importer.append([row("a", 1)], 2))
    persister.save_state("a", {"n": 99}, expected=1)
    drive(importer.append([row("a", 2)], 2))
    assert [event.to_state["n"] for event in persister.history("a")] == [1, 99, 2]


@pytest.mark.backend("sqlite")
def test_a_chunk_in_which_every_stream_takes_a_snapshot_fits(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'x.db'}?durability=off") as store:
        importer = RowImporter(store, "g", SOURCE)
        for step in range(7):  # more than the snapshots that are kept, so that each takes one and drops one
            rows = [row(f"s{n}", step) for n in range(CHUNK_STREAMS) for _ in range(100)]
            for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
                drive(importer.append(part, 1))
        assert StateMachinePersister(store, governor="g").get_stats().total_snapshots == 5 * CHUNK_STREAMS
    assert 4 * CHUNK_STREAMS + 1 <= MAX_BATCH_OPERATIONS
