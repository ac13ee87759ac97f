"""Commands that are told to read or write the file of a store: refused before the file is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventstate import InvalidInputError, SealManager, StateMachinePersister, StreamTransfer, open_store
from eventstate.stores.sqlite.backup import backup
from tests.cli.conftest import Cli

WRONG = [
    ("export", "{}", "--replace"),
    ("import-stream", "{}"),
    ("seal", "--file", "{}"),
    ("seals", "--file", "{}"),
    ("verify", "--seal", "{}"),
    ("verify", "--resume", "{}"),
    ("replay-check", "--resume", "{}"),
    ("prune", "--policy", "{}", "--no-archive"),
    ("import", "{}", "--state-id", "id", "--action", "what"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_no_command_touches_the_file_of_its_store(shop: Cli, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    store, keyring = tmp_path / "store.db", tmp_path / "keys.db"
    open_store(f"sqlite:///{keyring}").close()
    link, hard = tmp_path / "link.csv", tmp_path / "hard.csv"
    link.symlink_to(store)
    os.link(keyring, hard)
    for path in (store, tmp_path / "store.db-wal", link, keyring, hard):
        given = [argument.format(path) for argument in arguments]
        before = store.read_bytes(), keyring.read_bytes()
        failed = shop(*given, "--keyring", f"sqlite:///{keyring}", "--json", code=2)
        assert failed.error["type"] == "InvalidInputError"
        assert "must not be read or written as a file" in failed.error["message"]
        assert (store.read_bytes(), keyring.read_bytes()) == before


def test_what_this_process_has_open_is_refused_in_calls(tmp_path: Path) -> None:
    path, link = tmp_path / "store.db", tmp_path / "link"
    link.symlink_to(path)
    with open_store(f"sqlite:///{path}") as store, open_store("memory://") as other:
        StateMachinePersister(store).save_state("a", 1, expected=0)
        seals = SealManager(store)
        seals.seal()
        for wrong in (path, link, tmp_path / "store.db-shm"):
            for call in (
                lambda wrong=wrong: StreamTransfer(other).import_file(wrong),
                lambda wrong=wrong: StreamTransfer(other).export_file(wrong, replace=True),
                lambda wrong=wrong: seals.export(wrong),
                lambda wrong=wrong: backup(store, wrong),
            ):
                with pytest.raises(InvalidInputError, match="must not be read or written as a file"):
                    call()
        assert not [file for file in tmp_path.iterdir() if "part" in file.name]
        assert StateMachinePersister(store).load("a").data == 1
    # Once it is closed it is just a wrong file.
    with pytest.raises(InvalidInputError, match="export"), open_store("memory://") as other:
        StreamTransfer(other).import_file(path)
