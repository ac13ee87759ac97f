"""Export files: what they look like, and that nothing of a file that is cut or changed is ever written."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eventstate import (
    ConfigurationError,
    ExportFileError,
    FormatError,
    HistoryConflictError,
    InvalidInputError,
    StateMachinePersister,
    Store,
    StreamTransfer,
    open_store,
)
from eventstate.core.documents import Key
from eventstate.log.transfer import files
from eventstate.runtime.blocking import drive
from tests.machines.world import Added, make_counter

pytestmark = pytest.mark.backend("memory")


@pytest.fixture
def store() -> Iterator[Store]:
    """A typed stream with snapshots, a long plain one, and ids that need escapes."""
    with open_store("memory://") as store:
        counter = make_counter()
        persister = StateMachinePersister(store, machines=[counter], snapshot_every=4)
        for number in range(10):
            persister.append(counter, "1", Added(number), Added(1), expected=2 * number, changed_by="kim")
        state = persister.save_state('odd "id"/ü\\', {"text": "zeile\n2", "n": 1.5}, expected=0)
        for number in range(5):
            state = persister.update_state(state.id, {"text": "x" * number}, expected=state)
        persister.save_state("gone", None, expected=0)
        persister.delete_state("gone", expected=1)
        yield store


@pytest.fixture
def export(store: Store, tmp_path: Path) -> Path:
    path = tmp_path / "x.jsonl"
    StreamTransfer(store).export_file(path)
    return path


def imported(path: Path, **options: Any) -> dict[str, int]:
    """Import into an empty store that must be empty still where that fails; the versions there."""
    with open_store("memory://") as store:
        try:
            StreamTransfer(store).import_file(path, **options)
        except Exception:
            assert drive(store.owners()) == []
            raise
        persister = StateMachinePersister(store)
        assert persister.validate_consistency().is_consistent
        return {item.id: item.version for item in persister.recover()}


def signed(lines: list[bytes]) -> bytes:
    """A file of these lines whose last one is right about the digest."""
    end = json.loads(lines[-1])
    end["end"]["sha256"] = hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    return b"".join([*lines[:-1], json.dumps(end, separators=(",", ":")).encode() + b"\n"])


def test_a_line_is_an_entry_as_it_is_stored(store: Store, export: Path) -> None:
    lines = export.read_bytes().splitlines()
    assert json.loads(lines[0]) == {"eventstate": "export", "format": 1, "governor": "default"}
    entries = [line for line in lines if b',"entry":' in line]
    assert len(entries) == 18
    for line in entries:
        members = json.loads(line)
        key = Key("entry", "default", members["stream"], members["entry"]["n"])
        body = drive(store.get([key])).documents[key].body
        assert line.endswith(b',"entry":' + body + b"}")
    end = json.loads(lines[-1])["end"]
    assert {name: end[name] for name in ("streams", "entries", "events", "commands", "documents")} == {
        "streams": 3,
        "entries": 18,
        "events": 28,
        "commands": 0,
        "documents": 0,
    }
    assert end["snapshots"] == sum(b',"snapshot":' in line for line in lines) > 1
    head = json.loads(lines[1])["head"]
    assert not {"h", "t", "snapshots"} & set(head)


def test_what_was_exported_can_be_imported(export: Path) -> None:
    assert imported(export) == {"counter-1": 20, 'odd "id"/ü\\': 6, "gone": 2}


def test_exports_are_equal_to_the_byte_also_when_packed(store: Store, tmp_path: Path) -> None:
    transfer = StreamTransfer(store)
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "a.jsonl.gz", "b.jsonl.gz")]
    for file in files:
        transfer.export_file(file)
    contents = [file.read_bytes() for file in files]
    assert contents[0] == contents[1] == gzip.decompress(contents[2])
    assert contents[2] == contents[3]
    assert imported(files[2]) == imported(files[0])


def test_the_header_says_what_was_chosen(store: Store, tmp_path: Path) -> None:
    transfer = StreamTransfer(store)
    transfer.export_file(tmp_path / "p", prefix="counter-")
    transfer.export_file(tmp_path / "i", state_ids=["gone", "counter-1", "gone"])
    transfer.export_file(tmp_path / "d", commands=True, documents=True)
    headers = [json.loads((tmp_path / name).read_bytes().splitlines()[0]) for name in "pid"]
    assert headers[0]["prefix"] == "counter-"
    assert headers[1]["state_ids"] == ["counter-1", "gone"]
    assert headers[2]["includes"] == ["command", "document"]
    assert imported(tmp_path / "p") == {"counter-1": 20}
    assert imported(tmp_path / "i") == {"counter-1": 20, "gone": 2}


def test_wrong_choices(store: Store, tmp_path: Path) -> None:
    transfer = StreamTransfer(store)
    path = tmp_path / "x"
    with pytest.raises(ConfigurationError):
        transfer.export_file(path, prefix="a", state_ids=["b"])
    with pytest.raises(ConfigurationError):
        transfer.export_file(path, prefix="a", commands=True)
    for wrong in ([], "gone"):
        with pytest.raises(InvalidInputError):
            transfer.export_file(path, state_ids=wrong)
    with pytest.raises(InvalidInputError):
        transfer.export_file(path, state_ids=["\x01"])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_stays_unless_it_may_be_replaced(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("mine")
    with pytest.raises(InvalidInputError, match="exists"):
        StreamTransfer(store).export_file(path)
    assert path.read_text() == "mine"
    StreamTransfer(store).export_file(path, replace=True)
    assert imported(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


def test_an_export_that_fails_leaves_no_file(store: Store, tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise KeyError("not now")

    with pytest.raises(KeyError):
        StreamTransfer(store).export_file(tmp_path / "x.jsonl", progress=fail)
    with pytest.raises(InvalidInputError, match="can't be written"):
        StreamTransfer(store).export_file(tmp_path / "nowhere" / "x.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_anywhere_is_refused(export: Path, tmp_path: Path) -> None:
    content = export.read_bytes()
    ends = [n + 1 for n, byte in enumerate(content) if byte == 10]
    random = Random(1)
    cut = tmp_path / "cut.jsonl"
    for length in sorted({0, 1, *ends[:-1], *(end - 1 for end in ends), *random.sample(range(len(content)), 60)}):
        cut.write_bytes(content[:length])
        with pytest.raises(ExportFileError):
            imported(cut)
    packed = gzip.compress(content)
    cut = tmp_path / "cut.jsonl.gz"
    for length in (0, 5, len(packed) // 2, len(packed) - 1):
        cut.write_bytes(packed[:length])
        with pytest.raises(ExportFileError):
            imported(cut)


def test_a_changed_byte_is_found(export: Path, tmp_path: Path) -> None:
    content = export.read_bytes()
    random = Random(2)
    changed = tmp_path / "changed.jsonl"
    for place in random.sample(range(len(content)), 150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << random.randrange(8)
        changed.write_bytes(flipped)
        with pytest.raises((ExportFileError, FormatError)):
            imported(changed)


def test_an_entry_that_was_changed_is_found_by_its_chain(export: Path, tmp_path: Path) -> None:
    """Also where whoever changed it has put a right digest at the end of the file."""
    lines = export.read_bytes().splitlines(keepends=True)
    changed = tmp_path / "changed.jsonl"
    parts = [n for n, line in enumerate(lines) if b',"entry":' in line or b',"snapshot":' in line]
    for number in parts:
        inside = lines[number].rindex(b'"n":') + 4
        other = bytearray(lines[number])
        other[inside] = ord("9") if other[inside] != ord("9") else ord("8")
        changed.write_bytes(signed([*lines[:number], bytes(other), *lines[number + 1 :]]))
        with pytest.raises(ExportFileError) as caught:
            imported(changed)
        assert caught.value.line == number + 1
        assert caught.value.file == str(changed)


@pytest.mark.parametrize("how", ["left out", "swapped", "twice", "elsewhere"])
def test_lines_that_are_not_where_they_were(export: Path, tmp_path: Path, how: str) -> None:
    lines = export.read_bytes().splitlines(keepends=True)
    changed = tmp_path / "changed.jsonl"
    for number in range(1, len(lines) - 2):
        one, other = lines[number], lines[number + 1]
        new = {
            "left out": [other],
            "swapped": [other, one],
            "twice": [one, one, other],
            "elsewhere": [other, *lines[number + 2 : -1], one],
        }[how]
        rest = lines[-1:] if how == "elsewhere" else lines[number + 2 :]
        changed.write_bytes(signed([*lines[:number], *new, *rest]))
        with pytest.raises(ExportFileError):
            imported(changed)


def test_files_that_are_none(tmp_path: Path, export: Path) -> None:
    lines = export.read_bytes().splitlines(keepends=True)
    header = lines[0]
    wrong = {
        "text": b"hello\n",
        "csv": b"id,what\na,made\n",
        "json": b'{"a":1}\n',
        "future": header.replace(b'"format":1', b'"format":2'),
        "no format": header.replace(b'"format":1', b'"format":"1"'),
        "no governor": header.replace(b'"governor":"default"', b'"governor":7'),
        "odd governor": header.replace(b'"default"', b'"\\u0001"'),
        "unknown parts": header.replace(b"}", b',"includes":["lock"]}'),
        "bad head": header + b'{"stream":"a","head":{"n":1}}\n',
        "no head": header + lines[2],
        "more after the end": b"".join(lines) + b"\n",
        "wrong counts": signed([*lines[:-1], lines[-1].replace(b'"events":28', b'"events":29')]),
    }
    for name, content in wrong.items():
        file = tmp_path / "wrong.jsonl"
        file.write_bytes(content)
        with pytest.raises(FormatError if name == "future" else ExportFileError):
            imported(file)
    with pytest.raises(InvalidInputError, match="can't be read"):
        imported(tmp_path / "nowhere")
    file = tmp_path / "x.gz"
    file.write_bytes(b"plain")
    with pytest.raises(ExportFileError, match="gzip"):
        imported(file)


def test_a_line_without_end_is_refused(tmp_path: Path, export: Path) -> None:
    file = tmp_path / "x.jsonl"
    header = export.read_bytes().splitlines(keepends=True)[0]
    file.write_bytes(header + b'{"stream":"a","head":{"x":"' + b"x" * 5_000_000)
    with pytest.raises(ExportFileError, match="line 2: longer"):
        imported(file)


def test_the_streams_of_another_governor(export: Path) -> None:
    with open_store("memory://") as store:
        theirs = StreamTransfer(store, governor="annex")
        with pytest.raises(ConfigurationError, match="governor 'default'"):
            theirs.import_file(export)
        assert drive(store.owners()) == []
        assert theirs.import_file(export, rechain=True).streams == 3
        assert StateMachinePersister(store, governor="annex").validate_consistency().is_consistent
        assert theirs.import_file(export, rechain=True).streams_there == 3


def test_an_import_goes_on_and_does_not_overwrite(store: Store, export: Path, tmp_path: Path) -> None:
    with open_store("memory://") as target:
        transfer = StreamTransfer(target)
        assert transfer.import_file(export).streams == 3
        again = transfer.import_file(export)
        assert (again.streams, again.streams_there, again.expected_streams) == (0, 3, 3)
        StateMachinePersister(store).update_state('odd "id"/ü\\', 7, expected=6)
        later = tmp_path / "later.jsonl"
        StreamTransfer(store).export_file(later)
        assert transfer.import_file(later).events == 1
        StateMachinePersister(target).update_state('odd "id"/ü\\', 8, expected=7)
        for file in (export, later):
            with pytest.raises(HistoryConflictError):
                transfer.import_file(file)
        assert StateMachinePersister(target).load('odd "id"/ü\\').data == 8


def test_progress_is_told(store: Store, export: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with open_store("memory://") as target:
        StreamTransfer(target).import_file(
            export, progress=lambda r: seen.append((r.total_streams, r.expected_streams))
        )
    assert seen[-1] == (3, 3)
    assert [streams for streams, _ in seen] == sorted(streams for streams, _ in seen)


def test_two_exports_to_one_name_do_not_meet(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    begun: list[bytes] = []

    def begin_another(_report: Any) -> None:
        if not begun:
            begun.append(b"")
            StreamTransfer(store).export_file(path, state_ids=["gone"])
            begun.append(path.read_bytes())

    StreamTransfer(store).export_file(path, replace=True, progress=begin_another)
    assert path.read_bytes() != begun[1]
    assert imported(path) == {"counter-1": 20, 'odd "id"/ü\\': 6, "gone": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_of_an_export_survives_a_power_loss(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, bool]] = []
    path = tmp_path / "x.jsonl"
    monkeypatch.setattr(files, "fsync_folder", lambda folder: synced.append((folder, path.exists())))
    StreamTransfer(store).export_file(path)
    assert synced == [(tmp_path, True)]
