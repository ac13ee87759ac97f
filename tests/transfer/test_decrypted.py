"""Exports that are decrypted: what they show, what they leave out, and that nobody takes them for an original."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    AsyncKeyring,
    AsyncStreamTransfer,
    ConfigurationError,
    ExportFileError,
    KeyLostError,
    Keyring,
    Machine,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    Store,
    StreamTransfer,
    TimeTravel,
    open_async_store,
    open_store,
)
from eventstate.runtime.blocking import drive
from eventstate.testing.conformance.privacy import CANARY, GUESTS, CheckedIn, Stayed

pytestmark = pytest.mark.backend("memory")

NOTES: Machine[Any, Any] = Machine("note", {}, state_subject="who")


@pytest.fixture
def store() -> Iterator[Store]:
    with open_store("memory://") as opened:
        yield opened


@pytest.fixture
def keyring(store: Store) -> Iterator[Keyring]:
    """The keys of two guests and of a note."""
    with open_store("memory://") as keys:
        keyring = Keyring(keys, fresh_seconds=0)
        persister = StateMachinePersister(store, machines=[GUESTS, NOTES], keyring=keyring, snapshot_every=2)
        for name in ("ada", "grace"):
            persister.append(GUESTS, name, CheckedIn(name, f"{name}:{CANARY}"), Stayed(2), expected=0)
        persister.save_state("note-1", {"who": "ada", "text": CANARY}, expected=0)
        persister.save_state("plain", {"n": 1.5}, expected=0)
        TimeTravel(store, machines=[GUESTS, NOTES], keyring=keyring).fork(GUESTS, "ada", to="ada's", at_version=2)
        yield keyring


def exported(store: Store, path: Path, keyring: Any) -> list[Any]:
    StreamTransfer(store).export_file(path, decrypt=keyring, replace=True)
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def said(lines: list[Any], stream: str) -> list[Any]:
    """What the events of a stream say."""
    events = [
        event for line in lines if line.get("stream") == stream and "entry" in line for event in line["entry"]["e"]
    ]
    return [event.get("data", event.get("state", event.get("erased"))) for event in events]


def kept(lines: list[Any], stream: str) -> list[Any]:
    """The states that are kept of a stream."""
    held = [line.get("head", line.get("snapshot")) for line in lines if line.get("stream") == stream]
    return [members["state"] for members in held if members is not None and "state" in members]


def test_everything_is_in_the_clear(store: Store, keyring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = exported(store, path, keyring)
    assert lines[0] == {"eventstate": "export", "format": 1, "governor": "default", "decrypted": True}
    assert b"$encrypted" not in path.read_bytes()
    assert said(lines, "guest-ada") == [{"guest": "ada", "mail": f"ada:{CANARY}"}, {"nights": 2}]
    assert {state["mail"] for state in kept(lines, "guest-ada")} == {f";ada:{CANARY}"}
    assert said(lines, "note-1") == [{"who": "ada", "text": CANARY}]
    assert said(lines, "plain") == [{"n": 1.5}]
    assert kept(lines, "guest-ada's")[0]["mail"] == f";ada:{CANARY}"
    assert path.stat().st_mode & 0o077 == 0, "others can't read it"
    plain = tmp_path / "plain.jsonl"
    StreamTransfer(store).export_file(plain)
    assert CANARY.encode() not in plain.read_bytes()
    assert "decrypted" not in json.loads(plain.read_bytes().splitlines()[0])


def test_of_who_was_erased_nothing_is_shown_but_when_and_why(store: Store, keyring: Keyring, tmp_path: Path) -> None:
    keyring.erase("ada", reason="asked for it")
    lines = exported(store, tmp_path / "x.jsonl", keyring)
    first, second = said(lines, "guest-ada")
    assert (first["reason"], second) == ("asked for it", {"nights": 2})
    assert kept(lines, "guest-ada") == []
    assert said(lines, "note-1")[0]["reason"] == "asked for it"
    assert said(lines, "guest-grace")[0]["mail"] == f"grace:{CANARY}"
    assert f"ada:{CANARY}".encode() not in (tmp_path / "x.jsonl").read_bytes()


def test_pruned_streams(store: Store, keyring: Keyring, tmp_path: Path) -> None:
    persister = StateMachinePersister(store, machines=[GUESTS, NOTES], keyring=keyring)
    persister.append(GUESTS, "grace", Stayed(1), expected=2)
    RetentionManager(store, machines=[GUESTS, NOTES], keyring=keyring).prune(RetentionPolicy(keep_last=1))
    lines = exported(store, tmp_path / "x.jsonl", keyring)
    assert said(lines, "guest-grace") == [{"nights": 1}]
    assert [state["nights"] for state in kept(lines, "guest-grace")] == [3, 2]


def test_it_can_not_be_imported(store: Store, keyring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    exported(store, path, keyring)
    with open_store("memory://") as other:
        with pytest.raises(ExportFileError, match="decrypted"):
            StreamTransfer(other).import_file(path)
        assert drive(other.owners()) == []
        forged = tmp_path / "forged.jsonl"  # with that taken out, its entries have no digests
        forged.write_bytes(path.read_bytes().replace(b',"decrypted":true', b"", 1))
        with pytest.raises(ExportFileError):
            StreamTransfer(other).import_file(forged)
        assert drive(other.owners()) == []


def test_wrong_keyrings_leave_no_file(store: Store, keyring: Keyring, tmp_path: Path) -> None:
    assert keyring.governor == "default"
    with open_store("memory://") as other:
        with pytest.raises(KeyLostError):
            exported(store, tmp_path / "x.jsonl", Keyring(other))
        with pytest.raises(ConfigurationError):
            exported(store, tmp_path / "x.jsonl", Keyring(other, governor="inn"))
    assert list(tmp_path.iterdir()) == []


def test_for_asyncio(tmp_path: Path) -> None:
    url, keys_url = f"sqlite:///{tmp_path}/store.db", f"sqlite:///{tmp_path}/keys.db"
    path = tmp_path / "x.jsonl"

    async def export() -> None:
        async with open_async_store(url) as store, open_async_store(keys_url) as apart:
            with pytest.raises(ConfigurationError), open_store("memory://") as other:
                await AsyncStreamTransfer(store).export_file(path, decrypt=Keyring(other))
            await AsyncStreamTransfer(store).export_file(path, decrypt=AsyncKeyring(apart))

    with open_store(url) as store, open_store(keys_url) as apart:
        persister = StateMachinePersister(store, machines=[GUESTS], keyring=Keyring(apart))
        persister.append(GUESTS, "1", CheckedIn("ada", CANARY), expected=0)
    asyncio.run(export())
    assert path.read_bytes().count(CANARY.encode()) == 2
