"""``eventstate export``, ``import-stream`` and ``copy``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventstate import StateMachinePersister, open_store
from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")


@pytest.fixture
def other(tmp_path: Path) -> Cli:
    """Another store, not made yet."""
    return Cli(f"sqlite:///{tmp_path / 'other.db'}")


def test_export_and_import(shop: Cli, other: Cli, tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl.gz"
    exported = shop("export", str(file), "--json").json
    assert exported["file"] == str(file)
    assert (exported["streams"], exported["events"]) == (4, 7)
    imported = other("import-stream", str(file), "--json").json
    assert {**imported, "seconds": 0} == {**exported, "seconds": 0}
    assert other("import-stream", str(file), "--json").json["streams_there"] == 4
    for id in ("order-1", "doc"):
        assert other("show", id, "--json").json == shop("show", id, "--json").json
        assert other("history", id, "--json").out == shop("history", id, "--json").out
    assert other("verify", "--machines", "tests.cli.shop:ORDERS", "--json").json["is_consistent"]
    other("show", "gone", code=3)


def test_what_is_said(shop: Cli, other: Cli, tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    said = shop("export", str(file), "--id", "order-2").out
    assert said.startswith(f"{file}: 1 stream, 1 event, 0 snapshots in ")
    assert "4 streams, 7 events" in shop("copy", shop.url, other.url).out
    assert "0 streams, 0 events, 0 snapshots in" in (again := shop("copy", shop.url, other.url).out)
    assert again.endswith("; 4 streams there already\n")


def test_copy(shop: Cli, other: Cli) -> None:
    done = shop.run(["copy", shop.url, other.url, "--json"], 0).json
    assert (done["source"], done["target"], done["streams"]) == (shop.url, other.url, 4)
    with open_store(shop.url) as store:
        StateMachinePersister(store).save_state("doc", {"a": 3}, expected=2)
    assert shop.run(["copy", shop.url, other.url, "--json"], 0).json["events"] == 1
    assert other("show", "doc", "--json").json["version"] == 3


def test_filters(shop: Cli, other: Cli, tmp_path: Path) -> None:
    counts = [
        shop("export", str(tmp_path / f"{number}"), *options, "--json").json["streams"]
        for number, options in enumerate([("--machine", "order"), ("--prefix", "do"), ("--id", "doc", "--id", "gone")])
    ]
    assert counts == [2, 1, 2]
    assert shop.run(["copy", shop.url, other.url, "--machine", "order", "--json"], 0).json["streams"] == 2
    assert "exclude" in shop("export", str(tmp_path / "x"), "--machine", "order", "--prefix", "a", code=2).err
    assert shop("export", str(tmp_path / "x"), "--id", "nobody", "--json", code=3).error["state_id"] == "nobody"
    assert not (tmp_path / "x").exists()


def test_keys_and_documents(shop: Cli, other: Cli) -> None:
    with open_store(shop.url) as store:
        StateMachinePersister(store).save_state("k", 1, expected=0, idempotency_key="key")
    done = shop.run(["copy", shop.url, other.url, "--commands", "--documents", "--json"], 0).json
    assert (done["commands"], done["documents"]) == (1, 0)
    assert "1 idempotency key" in shop.run(["copy", shop.url, f"{other.url}2", "--commands"], 0).out


def test_a_bad_file_leaves_no_store_behind(shop: Cli, other: Cli, tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    shop("export", str(file))
    file.write_bytes(file.read_bytes()[:-20])
    failed = other("import-stream", str(file), "--json", code=2)
    assert failed.error["type"] == "ExportFileError"
    assert failed.error["file"] == str(file)
    assert not (tmp_path / "other.db").exists()
    csv = tmp_path / "x.csv"
    csv.write_text("id,what\na,made\n")
    assert "eventstate export" in other("import-stream", str(csv), code=2).err


def test_another_history_is_a_conflict(shop: Cli, other: Cli) -> None:
    with open_store(other.url) as store:
        StateMachinePersister(store).save_state("doc", "mine", expected=0)
    failed = shop.run(["copy", shop.url, other.url, "--json"], 4)
    assert (failed.error["type"], failed.error["stream"]) == ("HistoryConflictError", "doc")
    assert other("show", "doc", "--json").json["data"] == "mine"


def test_another_governor(shop: Cli, other: Cli, tmp_path: Path) -> None:
    refused = shop.run(["copy", shop.url, other.url, "--to-governor", "annex"], 2)
    assert "rechain" in refused.err
    assert not (tmp_path / "other.db").exists()
    shop.run(["copy", shop.url, other.url, "--to-governor", "annex", "--rechain"], 0)
    assert other("governors").out == "annex\n"
    assert other("verify", "--governor", "annex", "--json").json["is_consistent"]
    file = tmp_path / "x.jsonl"
    shop("export", str(file))
    assert "rechain" in other("import-stream", str(file), "--governor", "annex", code=2).err
    assert other("import-stream", str(file), "--json").json["streams"] == 4


def test_stores_that_can_not_be(shop: Cli, other: Cli, tmp_path: Path) -> None:
    shop.run(["copy", other.url, shop.url], 5)
    assert not (tmp_path / "other.db").exists()
    assert "same store" in shop.run(["copy", shop.url, shop.url], 2).err
    for urls in (["memory://", other.url], [shop.url, "memory://"]):
        shop.run(["copy", *urls], 2)
    shop.run(["import-stream", "x.jsonl", "--url", "memory://"], 2)
    shop("export", str(tmp_path / "x"), "--governor", "nobody", "--json")
    assert json.loads((tmp_path / "x").read_text().splitlines()[-1])["end"]["streams"] == 0


def test_a_file_that_exists(shop: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("mine")
    assert "exists" in shop("export", str(file), code=2).err
    shop("export", str(file), "--replace")
    assert file.read_text().startswith('{"eventstate":"export"')
