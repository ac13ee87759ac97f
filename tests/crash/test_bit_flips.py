"""Single flipped bits in stored bytes: every one named by verify, none served as a state."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from eventstate import AppendTo, CorruptionError, Event, StateMachinePersister, open_store
from eventstate.core.documents import HEAD, Key
from eventstate.log.verify import ConsistencyReport, Verifier
from eventstate.runtime.blocking import drive

FLIPS = 2000
STREAMS = 8
VERSIONS = 24


def state_at(stream: int, version: int) -> dict[str, object]:
    return {"stream": stream, "n": version, "text": f"état {version}" * (version % 4 + 1), "list": [version, None]}


@pytest.fixture
def store_file(tmp_path: Path) -> Path:
    path = tmp_path / "flips.db"
    with open_store(f"sqlite:///{path}") as store:
        persister = StateMachinePersister(store, snapshot_every=5, keep_snapshots=3)
        for version in range(1, VERSIONS + 1):
            appends = [
                AppendTo(f"doc-{n}", Event("set", state=state_at(n, version)), expected=version - 1)
                for n in range(STREAMS)
            ]
            persister.append_together(*appends, changed_by="kim", reason="test")
    return path


TABLES = {
    "entries": "SELECT position, body FROM entries",
    "heads": "SELECT stream, body FROM heads",
    "documents": "SELECT rowid, body FROM documents WHERE kind = 'snapshot'",
}
KEYS = {"entries": "position", "heads": "stream", "documents": "rowid"}
OWNERS = {
    "entries": "SELECT s.id FROM entries e JOIN streams s ON s.number = e.stream WHERE e.position = ?",
    "heads": "SELECT id FROM streams WHERE number = ?",
    "documents": "SELECT id FROM documents WHERE rowid = ?",
}


@pytest.mark.backend("sqlite")
def test_every_flip_is_named_and_none_is_served(store_file: Path) -> None:
    choose = random.Random(20)
    editor = apsw.Connection(str(store_file))
    editor.set_busy_timeout(5000)
    rows = [(table, row, bytes(body)) for table, sql in TABLES.items() for row, body in editor.execute(sql)]
    flipped = dict.fromkeys(TABLES, 0)
    with open_store(f"sqlite:///{store_file}") as store:
        persister = StateMachinePersister(store, snapshot_every=5, keep_snapshots=3)
        verifier = Verifier(store, "default", persister._core.fold_of)
        for _ in range(FLIPS):
            table, row, body = choose.choice(rows)
            bit = choose.randrange(len(body) * 8)
            damaged = bytearray(body)
            damaged[bit // 8] ^= 1 << bit % 8
            flipped[table] += 1
            editor.execute(f"UPDATE {table} SET body = ? WHERE {KEYS[table]} = ?", (bytes(damaged), row))
            state_id = str(editor.execute(OWNERS[table], (row,)).get)
            report = ConsistencyReport()
            key = Key(HEAD, "default", state_id)
            head = drive(store.get([key])).documents.get(key)
            drive(verifier.stream(state_id, head, report))
            assert report.findings, (table, row, bit)
            assert state_id in report.findings[0].where
            check_nothing_wrong_is_served(store, state_id, choose.randint(1, VERSIONS))
            editor.execute(f"UPDATE {table} SET body = ? WHERE {KEYS[table]} = ?", (body, row))
        assert persister.validate_consistency().is_consistent
    editor.close()
    assert all(flipped.values()), flipped


def check_nothing_wrong_is_served(store, state_id: str, version: int) -> None:
    stream = int(state_id.removeprefix("doc-"))
    reader = StateMachinePersister(store, snapshot_every=5, keep_snapshots=3)
    for asked in (None, version, VERSIONS):
        try:
            loaded = reader.load(state_id, at_version=asked)
        except CorruptionError:
            continue
        assert loaded.data == state_at(stream, asked or VERSIONS)
        assert loaded.version == (asked or VERSIONS)
