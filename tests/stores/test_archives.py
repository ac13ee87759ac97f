"""Archives: the one in a folder, and packs."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate import (
    Archive,
    ConfigurationError,
    CorruptionError,
    DirectoryArchive,
    InvalidInputError,
    StorageFullError,
    StorePermissionError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from eventstate.core.chain import genesis
from eventstate.core.documents import Document
from eventstate.core.format import Base, NewEvent, Tip, decode_entry, encode_entry, entry_key, unborn
from eventstate.core.packs import (
    TAIL_BYTES,
    PackWriter,
    folder_of,
    index_offset,
    is_pack,
    read_index,
    read_section,
)
from eventstate.stores import directory
from eventstate.testing.archives import MemoryArchive

Make = Callable[[], Archive]


@pytest.fixture(params=["directory", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "memory":
        archive = MemoryArchive()
        return lambda: archive
    return lambda: DirectoryArchive(tmp_path / "archive")


def test_what_is_put_is_there_for_others(make: Make) -> None:
    make().put("shop/one.pack", b"0123456789")
    archive = make()
    assert isinstance(archive, Archive)
    assert archive.get("shop/one.pack") == b"0123456789"
    assert archive.get("shop/one.pack", start=2, length=3) == b"234"
    assert archive.get("shop/one.pack", start=-3) == b"789"
    assert archive.get("shop/one.pack", start=-30, length=2) == b"01"
    assert archive.get("shop/one.pack", start=20) == b""


def test_names_come_in_order_by_prefix(make: Make) -> None:
    archive = make()
    assert list(archive.names()) == []
    assert list(archive.names("shop/")) == []
    for name in ("shop/b", "shop/a", "shop2/c", "~x/d", "top"):
        archive.put(name, name.encode())
    assert list(archive.names("shop/")) == ["shop/a", "shop/b"]
    assert list(archive.names("shop/b")) == ["shop/b"]
    assert list(archive.names()) == ["shop/a", "shop/b", "shop2/c", "top", "~x/d"]
    assert list(archive.names("none/")) == []


def test_a_blob_is_written_once(make: Make) -> None:
    make().put("a/b", b"x")
    make().put("a/b", b"x")
    with pytest.raises(CorruptionError, match="a/b"):
        make().put("a/b", b"y")
    assert make().get("a/b") == b"x"


@pytest.mark.parametrize("name", ["", "/a", "a/", "../a", "a/../b", ".a", "a/.b", "a//b", "a b", "ä", "a\0", "a" * 501])
def test_names_that_lead_elsewhere_are_refused(make: Make, name: str) -> None:
    with pytest.raises(InvalidInputError):
        make().put(name, b"x")


def test_a_blob_that_is_gone_is_told(make: Make) -> None:
    make().put("a/b", b"x")
    with pytest.raises(CorruptionError, match="missing"):
        make().get("a/c")


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        DirectoryArchive(tmp_path / "archive").put("shop/a", b"x")
    finally:
        os.umask(before)
    for path in (tmp_path / "archive", tmp_path / "archive" / "shop"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "archive" / "shop" / "a").stat().st_mode) == 0o600


def test_links_are_not_followed(tmp_path: Path) -> None:
    archive = DirectoryArchive(tmp_path / "archive")
    archive.put("shop/a", b"x")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "archive" / "shop" / "b").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigurationError):
        archive.get("shop/b")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        DirectoryArchive(tmp_path / "none" / "archive").put("a", b"x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError):
        DirectoryArchive(tmp_path / "file").put("a", b"x")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EROFS, StoreReadOnlyError),
        (errno.EACCES, StorePermissionError),
        (errno.EIO, StoreUnavailableError),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], call: str
) -> None:
    archive = DirectoryArchive(tmp_path / "archive")
    archive.put("shop/a", b"x")

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(directory.os, call, fail)
        with pytest.raises(kind):
            archive.put("shop/b", b"y")
    assert [path.name for path in (tmp_path / "archive" / "shop").iterdir()] == ["a"]
    archive.put("shop/b", b"y")


def test_folders_are_synced_once_also_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "archive"
    (root / "shop").mkdir(parents=True)  # by somebody who died before syncing
    synced: list[Path] = []
    monkeypatch.setattr(directory, "fsync_folder", synced.append)
    archive = DirectoryArchive(root)
    archive.put("shop/one", b"1")
    assert synced == [tmp_path, root, root / "shop"]
    archive.put("shop/two", b"2")
    archive.put("inn/one", b"3")
    assert synced[3:] == [root / "shop", root, root / "inn"]


def test_a_file_that_is_being_written_is_no_blob(tmp_path: Path) -> None:
    archive = DirectoryArchive(tmp_path / "archive")
    archive.put("shop/a", b"x")
    (tmp_path / "archive" / "shop" / ".abc.partial").write_bytes(b"half")
    assert list(archive.names()) == ["shop/a"]


def test_many_threads_put_the_same(tmp_path: Path) -> None:
    archive = DirectoryArchive(tmp_path / "archive")
    bodies = {f"shop/{n % 5}": b"x" * 10_000 + bytes([n % 5]) for n in range(20)}
    failed: list[BaseException] = []

    def put() -> None:
        try:
            for name, body in bodies.items():
                archive.put(name, body)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=put) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert {name: archive.get(name) for name in archive.names()} == bodies


# Packs

GOVERNOR = "shop"


def chained(id: str, sizes: list[int]) -> tuple[Base, list[Document]]:
    """Entries of one stream with so many events each, and where they end."""
    tip: Tip = unborn(GOVERNOR, id)
    documents: list[Document] = []
    for size in sizes:
        events = [NewEvent("e", data=b'"\\n\xc3\xa9"')] * size
        body, digest = encode_entry(tip, events, token="t", at=1, clock={}, metadata={})
        tip = tip._replace(version=tip.version + size, digest=digest)
        documents.append(Document(entry_key(tip, tip.version), body, "", 0))
    return Base(tip.version, tip.digest), documents


ids = st.lists(st.text(min_size=1, max_size=5).filter(lambda id: id.isprintable()), min_size=1, max_size=5, unique=True)


@given(ids, st.lists(st.integers(1, 4), min_size=1, max_size=6), st.data())
def test_a_pack_gives_back_what_was_put_in(ids: list[str], sizes: list[int], data: st.DataObject) -> None:
    writer = PackWriter(GOVERNOR)
    put: dict[str, list[Document]] = {}
    for id in sorted(ids):
        _, documents = chained(id, sizes)
        put[id] = documents
        before = Base(0, genesis(GOVERNOR, id))
        snapshot = b'{"snapshot":1}' if data.draw(st.booleans()) else None
        writer.begin(id, before, snapshot)
        for document in documents:
            entry = decode_entry(document, before.digest)
            writer.add(entry, document)
            before = Base(entry.version, entry.digest)
    name, body = writer.finish()
    assert is_pack(name, body)
    flipped = data.draw(st.integers(0, len(body) - 1))
    assert not is_pack(name, body[:flipped] + bytes([body[flipped] ^ 1]) + body[flipped + 1 :])
    first, last, sections = read_index(name, body[index_offset(name, body[-TAIL_BYTES:]) : -TAIL_BYTES])
    assert (first, last) == (min(put), max(put))
    for section in sections:
        contents = read_section(GOVERNOR, section, body[section.offset : section.offset + section.length])
        assert [document[:2] for document in contents.entries] == [document[:2] for document in put[section.stream]]
        assert (section.last, section.last_chain.encode()) == chained(section.stream, sizes)[0]
    assert [section.stream for section in sections] == sorted(put)


def test_a_section_without_entries_is_not_listed() -> None:
    writer = PackWriter(GOVERNOR)
    assert writer.is_empty
    writer.begin("a", Base(0, genesis(GOVERNOR, "a")))
    assert writer.is_empty
    _, documents = chained("b", [1])
    writer.begin("b", Base(0, genesis(GOVERNOR, "b")))
    writer.add(decode_entry(documents[0], genesis(GOVERNOR, "b")), documents[0])
    name, body = writer.finish()
    sections = read_index(name, body[index_offset(name, body[-TAIL_BYTES:]) : -TAIL_BYTES])[2]
    assert [section.stream for section in sections] == ["b"]


def test_what_is_no_pack_is_told() -> None:
    with pytest.raises(CorruptionError):
        index_offset("x", b"")
    with pytest.raises(CorruptionError):
        read_index("x", b"{}")


def test_governors_have_folders_of_their_own() -> None:
    names = ["shop", "shop-2", "a/b", "..", "~shop", "é", "x" * 101, "a.b", ""]
    folders = [folder_of(name) for name in names]
    assert len(set(folders)) == len(names)
    assert folders[:2] == ["shop/", "shop-2/"]
    for folder in folders:
        MemoryArchive().put(f"{folder}x", b"")
