"""What is left in the files after an erasure: nothing, whatever is looked into, and whenever the process died."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from eventstate import (
    Erased,
    KeyLostError,
    Keyring,
    Machine,
    StateMachinePersister,
    SubjectErasedError,
    open_store,
)
from eventstate.core.documents import SECRET
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.stores.sqlite.backup import backup

CANARY = "canary-b81e77"
pytestmark = [pytest.mark.backend("sqlite")]


@dataclass(frozen=True)
class Patient:
    name: str = ""
    visits: int = 0


@dataclass(frozen=True)
class Admitted:
    patient: str
    name: str


@dataclass(frozen=True)
class Visited:
    pass


def treat(patient: Patient, event: Admitted | Visited) -> Patient:
    match event:
        case Admitted(name=name):
            return replace(patient, name=name)
        case Visited():
            return replace(patient, visits=patient.visits + 1)


PATIENTS = Machine("patient", Patient(), treat, subjects={Admitted: "patient"})


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    (tmp_path / "events").mkdir()
    (tmp_path / "keys").mkdir()
    with (
        open_store(f"sqlite:///{tmp_path}/events/store.db?durability=off") as events,
        open_store(f"sqlite:///{tmp_path}/keys/keyring.db?durability=off") as keys,
    ):
        yield events, keys


def everything(folder: Path) -> bytes:
    """The raw bytes of all files below a folder. Another process reads them: to do so here would drop the locks."""
    program = "import pathlib, sys\nfor p in sorted(pathlib.Path(sys.argv[1]).rglob('*')):\n"
    program += "    if p.is_file(): sys.stdout.buffer.write(p.read_bytes())"
    return subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, check=True).stdout


def secrets_of(keys: Store, ids: tuple[str, ...]) -> list[bytes]:
    found = drive(keys.scan(SECRET, "ward")).documents
    return [orjson.loads(document.body)["key"].encode() for document in found if document.key.id in ids]


def test_no_file_holds_what_was_erased(tmp_path: Path, opened: tuple[Store, Store]) -> None:
    events, keys = opened
    keyring = Keyring(keys, governor="ward")
    persister = StateMachinePersister(
        events, governor="ward", machines=[PATIENTS], keyring=keyring, snapshot_every=3, keep_snapshots=2
    )
    for number in range(60):
        id = f"{number}"
        persister.append(
            PATIENTS, id, Admitted(f"p{number}", f"{CANARY}-{number}"), expected=0, idempotency_key=f"admit-{number}"
        )
        for _ in range(7):
            persister.append(PATIENTS, id, Visited(), expected=persister.load(PATIENTS, id))
    assert CANARY.encode() not in everything(tmp_path), "personal data was stored in the clear"

    erased = {f"p{number}" for number in range(0, 60, 2)}
    ids = tuple(id for subject in erased for id in keyring.info(subject).key_ids)
    secrets = secrets_of(keys, ids)
    assert len(secrets) == len(erased)
    assert all(secret in everything(tmp_path / "keys") for secret in secrets), "the check looks at the wrong bytes"
    for subject in sorted(erased):
        keyring.erase(subject, "asked for it")
    keyring.purge()
    left = everything(tmp_path / "keys")
    assert [secret for secret in secrets if secret in left] == []
    assert CANARY.encode() not in everything(tmp_path)

    report = persister.validate_consistency()
    assert report.is_consistent, report.findings
    for number in range(60):
        expected = Patient("" if f"p{number}" in erased else f"{CANARY}-{number}", 7)
        assert persister.load(PATIENTS, f"{number}").data == expected
        first = next(iter(persister.history(PATIENTS, f"{number}"))).data
        assert isinstance(first, Erased) == (f"p{number}" in erased)


def test_a_copy_of_the_events_is_worth_nothing_without_the_key(tmp_path: Path, opened: tuple[Store, Store]) -> None:
    events, keys = opened
    keyring = Keyring(keys, governor="ward")
    persister = StateMachinePersister(events, governor="ward", machines=[PATIENTS], keyring=keyring)
    persister.append(PATIENTS, "1", Admitted("ada", CANARY), Visited(), expected=0)
    copy = tmp_path / "copy.db"
    backup(events, copy)
    keyring.erase("ada", "asked for it")
    with open_store(f"sqlite:///{copy}?mode=ro") as copied:
        reader = StateMachinePersister(copied, governor="ward", machines=[PATIENTS], keyring=keyring)
        assert reader.load(PATIENTS, "1").data == Patient("", 1)
    assert CANARY.encode() not in copy.read_bytes()


ERASER = """
import sys
from eventstate import Keyring, open_store
with open_store(sys.argv[1]) as keys:
    keyring = Keyring(keys, governor="ward")
    print("ready", flush=True)
    for number in range(1000):
        keyring.erase(f"p{number}", "asked for it")
        print(number, flush=True)
    keyring.purge()
"""


@pytest.mark.serial
def test_a_killed_erasure_is_all_or_nothing(tmp_path: Path) -> None:
    chance = random.Random(11)
    url, keys_url = f"sqlite:///{tmp_path}/store.db?durability=off", f"sqlite:///{tmp_path}/keys.db?durability=off"
    with open_store(url) as events, open_store(keys_url) as keys:
        keyring = Keyring(keys, governor="ward")
        persister = StateMachinePersister(events, governor="ward", machines=[PATIENTS], keyring=keyring)
        for number in range(1000):
            persister.append(PATIENTS, f"{number}", Admitted(f"p{number}", CANARY), expected=0)
    acknowledged = -1
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", ERASER, keys_url], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.01, 0.25))
            process.send_signal(signal.SIGKILL)
            said = process.stdout.read().split()
        acknowledged = max(acknowledged, int(said[-1]) if said else -1)
    with open_store(url) as events, open_store(keys_url) as keys:
        keyring = Keyring(keys, governor="ward")
        persister = StateMachinePersister(events, governor="ward", machines=[PATIENTS], keyring=keyring)
        gone = [not persister.load(PATIENTS, f"{number}").data.name for number in range(1000)]
        assert all(gone[: acknowledged + 1]), "an erasure that was acknowledged did not happen"
        assert gone == sorted(gone, reverse=True)
        infos = [keyring.info(f"p{number}").erased_at is not None for number in range(1000)]
        assert infos == gone, "a subject is half erased"


def test_a_keyring_that_lost_a_key_says_so(tmp_path: Path, opened: tuple[Store, Store]) -> None:
    events, keys = opened
    keyring = Keyring(keys, governor="ward")
    persister = StateMachinePersister(events, governor="ward", machines=[PATIENTS], keyring=keyring)
    persister.append(PATIENTS, "1", Admitted("ada", CANARY), expected=0)
    backup(keys, tmp_path / "old.db")
    persister.append(PATIENTS, "2", Admitted("grace", CANARY), expected=0)
    shutil.copy(tmp_path / "old.db", tmp_path / "restored.db")
    with open_store(f"sqlite:///{tmp_path}/restored.db?mode=ro") as older:
        reader = StateMachinePersister(
            events, governor="ward", machines=[PATIENTS], keyring=Keyring(older, governor="ward")
        )
        assert reader.load(PATIENTS, "1").data.name == CANARY
        with pytest.raises(KeyLostError, match="restore"):
            reader.load(PATIENTS, "2")
    keyring.erase("grace", "asked for it")
    assert persister.load(PATIENTS, "2").data == Patient()
    with pytest.raises(SubjectErasedError):
        persister.append(PATIENTS, "3", Admitted("grace", CANARY), expected=0)
