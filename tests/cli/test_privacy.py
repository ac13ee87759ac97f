"""Keyrings on the command line: who is in them, new keys, and erasures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from eventstate import Keyring, Machine, StateMachinePersister, open_store
from tests.cli.conftest import Cli

CANARY = "canary-55e0"


@dataclass(frozen=True)
class Member:
    name: str = ""
    loans: int = 0


@dataclass(frozen=True)
class Joined:
    member: str
    name: str


@dataclass(frozen=True)
class Lent:
    pass


def lend(member: Member, event: Joined | Lent) -> Member:
    match event:
        case Joined(name=name):
            return replace(member, name=name)
        case Lent():
            return replace(member, loans=member.loans + 1)


MEMBERS = Machine("member", Member(), lend, subjects={Joined: "member"})
DECLARED = ("--machines", "tests.cli.test_privacy:MEMBERS")


@pytest.fixture
def keys(cli: Cli, tmp_path: Path) -> str:
    """The URL of a keyring with two members, whose events are in the store."""
    url = f"sqlite:///{tmp_path}/keyring.db"
    with open_store(cli.url) as store, open_store(url) as apart:
        library = StateMachinePersister(store, machines=[MEMBERS], keyring=Keyring(apart))
        library.append(MEMBERS, "1", Joined("ada", CANARY), Lent(), expected=0)
        library.append(MEMBERS, "2", Joined("grace", "Grace"), expected=0)
    return url


def test_subjects_are_listed_without_their_keys(cli: Cli, keys: str) -> None:
    lines = cli("keys", "--keyring", keys, "--json").lines
    assert {line["subject"] for line in lines} == {"ada", "grace"}
    assert all(len(line["key_ids"]) == 1 and line["erased_at"] is None for line in lines)
    assert "grace" in cli("keys", "--keyring", keys).out
    assert cli.run(["keys", "--json"], 0, env={"EVENTSTATE_KEYRING": keys}).lines == lines


def test_a_new_key(cli: Cli, keys: str) -> None:
    made = cli("keys", "--rotate", "ada", "--keyring", keys, "--json").json
    ada = next(line for line in cli("keys", "--keyring", keys, "--json").lines if line["subject"] == "ada")
    assert ada["key_ids"][-1] == made["key_id"]
    assert "from now on" in cli("keys", "--rotate", "ada", "--keyring", keys).out
    cli("keys", "--rotate", "nobody", "--keyring", keys, code=3)


def test_what_was_erased_is_shown_as_erased(cli: Cli, keys: str) -> None:
    shown = ("history", "member-1", "--json", *DECLARED, "--keyring", keys)
    assert cli(*shown).lines[0]["data"] == {"member": "ada", "name": CANARY}
    erased = cli("erase", "ada", "--reason", "asked for it", "--yes", "--keyring", keys, "--json").json
    assert (erased["subject"], erased["reason"]) == (None, "asked for it")
    first, second = cli(*shown).lines
    assert first["data"]["reason"] == "asked for it"
    assert second["to_state"] == {"name": "", "loans": 1}
    assert cli("load", "member-2", "--json", *DECLARED, "--keyring", keys).json["data"]["name"] == "Grace"
    cli("verify", *DECLARED, "--keyring", keys)
    assert "(erased)" in cli("keys", "--keyring", keys).out


def test_erasing_asks_first(cli: Cli, keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda _text, **_: next(answers))
    erase = ("erase", "ada", "--reason", "asked for it", "--keyring", keys)
    assert "nothing was done" in cli(*erase, code=130).err
    assert cli("keys", "--keyring", keys, "--json").lines[0]["erased_at"] is None
    assert "1 key destroyed" in cli(*erase).out
    cli(*erase)  # asks nothing: there is nothing left to destroy


def test_without_keyring_or_machine(cli: Cli, keys: str) -> None:
    assert "--keyring" in cli("keys", code=2).err
    assert "keyring" in cli("load", "member-1", *DECLARED, code=2).err
    cli("keys", "--keyring", f"{keys}.other", code=5)
    for command in (("history", "member-1"), ("show", "member-1"), ("list",), ("verify",)):
        assert CANARY not in cli(*command, "--json").out
    cli("erase", "nobody", "--reason", "x", "--yes", "--keyring", keys, code=3)


def test_rows_that_are_to_be_encrypted_are_refused(cli: Cli, keys: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"id,what,name\nplain-1,made,x\nmember-9,Joined,{CANARY}\n")
    load = ("import", str(file), "--state-id", "id", "--action", "what")
    assert "line 3" in cli(*load, *DECLARED, code=2).err
    assert not any(line["state_id"] in ("plain-1", "member-9") for line in cli("list", "--json").lines)
    cli("import", str(file), "--state-id", "id", "--action", "what", "--url", f"{cli.url}2", *DECLARED, code=2)
    assert not (tmp_path / "store.db2").exists(), "a file that is refused leaves no store behind"


def test_rows_into_an_encrypted_stream_are_refused(cli: Cli, tmp_path: Path) -> None:
    notes = Machine("note", {}, state_subject="who")
    with open_store(cli.url) as store, open_store("memory://") as apart:
        StateMachinePersister(store, machines=[notes], keyring=Keyring(apart)).save_state(
            "note-1", {"who": "ada"}, expected=0
        )
    file = tmp_path / "rows.csv"
    file.write_text(f"id,what,name\nnote-1,changed,{CANARY}\n")
    assert "encrypted" in cli("import", str(file), "--state-id", "id", "--action", "what", code=2).err
    assert cli("show", "note-1", "--json").json["version"] == 1


def test_an_export_is_decrypted_only_where_that_is_asked_for(cli: Cli, keys: str, tmp_path: Path) -> None:
    sealed, clear = tmp_path / "sealed.jsonl", tmp_path / "clear.jsonl"
    cli("export", str(sealed), "--keyring", keys)
    assert CANARY not in sealed.read_text()
    assert "keyring" in cli("export", str(clear), "--decrypt", code=2).err
    assert cli("export", str(clear), "--decrypt", "--keyring", keys, "--json").json["streams"] == 2
    assert CANARY in clear.read_text()
    cli("import-stream", str(sealed), "--url", f"{cli.url}2")
    assert "decrypted" in cli("import-stream", str(clear), "--url", f"{cli.url}3", code=2).err
    assert not (tmp_path / "store.db3").exists()
