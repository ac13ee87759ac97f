"""Stores that can't be opened or written: exit code 5, one line, nothing done."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text("id,what\na,made\n")
    return file


def fails(cli: Cli, url: str, *command: str) -> str:
    """The type of the error, which comes alone."""
    failed = cli.run([*command, "--url", url, "--json"], 5)
    assert failed.out == ""
    assert failed.err.count("\n") == 1
    return failed.error["type"]


def imported(rows: Path) -> tuple[str, ...]:
    return ("import", str(rows), "--state-id", "id", "--action", "what")


def test_locked_by_another(shop: Cli, store_file: Path, rows: Path) -> None:
    other = apsw.Connection(str(store_file))
    try:
        other.execute("BEGIN IMMEDIATE")
        assert fails(shop, f"{shop.url}?timeout=0.1", *imported(rows)) == "StoreUnavailableError"
        shop("show", "doc")
    finally:
        other.close()
    shop(*imported(rows))


def test_opened_read_only(shop: Cli, rows: Path) -> None:
    assert fails(shop, f"{shop.url}?mode=ro", *imported(rows)) == "StoreReadOnlyError"
    shop.run(["show", "doc", "--url", f"{shop.url}?mode=ro"], 0)


def test_no_store(cli: Cli, store_file: Path, tmp_path: Path) -> None:
    store_file.write_bytes(b"This is a text, and not a short one." * 100)
    assert fails(cli, cli.url, "show", "doc") == "NotADatabaseError"
    assert fails(cli, f"sqlite:///{tmp_path}", "show", "doc") == "NotADatabaseError"


def test_a_newer_format(shop: Cli, store_file: Path) -> None:
    connection = apsw.Connection(str(store_file))
    connection.pragma("user_version", 99)
    connection.close()
    assert fails(shop, shop.url, "show", "doc") == "FormatError"


@pytest.mark.backend("firestore")
def test_a_firestore_that_does_not_answer(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    assert fails(cli, "firestore://demo-down?timeout=0.5", "show", "doc") == "StoreUnavailableError"
    checks = {
        line["name"]: line
        for line in cli.run(["doctor", "--url", "firestore://demo-down?timeout=0.5", "--json"], 1).json["checks"]
    }
    assert checks["reachable"]["level"] == "bad"
    assert checks["emulator"]["level"] == "warn"
