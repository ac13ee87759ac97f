"""seal, seals, and verify against a seal."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from tests.cli.conftest import Cli
from tests.cli.damage import flip_entry

pytestmark = pytest.mark.backend("sqlite")


def cut(file: Path, id: str) -> None:
    """Take a stream away as if it had never been."""
    connection = apsw.Connection(str(file))
    number = connection.execute("SELECT number FROM streams WHERE id = ?", (id,)).get
    for table in ("entries", "heads"):
        connection.execute(f"DELETE FROM {table} WHERE stream = ?", (number,))
        assert connection.changes()
    connection.close()


def test_a_seal_is_taken_and_listed(shop: Cli) -> None:
    taken = shop("seal", "--json").json
    assert (taken["number"], taken["streams"], taken["events"], taken["anew"]) == (1, 4, 7, False)
    assert (taken["governor"], taken["file"]) == ("default", None)
    assert taken["seconds"] >= 0
    assert shop("seal").out.startswith("seal 2: 4 streams, 7 events, ")
    listed = shop("seals", "--json").json["seals"]
    assert [seal["number"] for seal in listed] == [1, 2]
    assert listed[0]["digest"] == taken["digest"]
    assert taken["digest"] in shop("seals").out
    report = shop("verify", "--json").json
    assert (report["is_consistent"], report["seal"], report["sealed"], report["pruned"]) == (True, 2, 4, 0)
    assert "4 streams held against seal 2" in shop("verify").out


def test_a_seal_that_is_young_enough(shop: Cli) -> None:
    assert shop("seal", "--if-older-than", "3600", "--json").json["number"] == 1
    assert shop("seal", "--if-older-than", "3600", "--json").json["number"] == 1
    assert shop("seal", "--if-older-than", "0", "--json").json["number"] == 2


def test_a_stream_that_was_taken_away_is_a_finding(shop: Cli, store_file: Path) -> None:
    assert shop("verify", "--json").json["seal"] is None
    shop("seal")
    cut(store_file, "doc")
    report = shop("verify", "--json", code=1).json
    assert [(f["state_id"], f["where"]) for f in report["findings"]] == [("doc", "entry default/doc:1")]
    assert "its head is gone" in shop("seal", code=1).err
    assert len(shop("seals", "--json").json["seals"]) == 1
    assert shop("seal", "--anew", "--json").json["anew"]
    assert shop("verify", "--json").json["is_consistent"]


def test_a_seal_in_a_file(shop: Cli, store_file: Path, tmp_path: Path) -> None:
    small, full = tmp_path / "small.json", tmp_path / "full.json"
    taken = shop("seal", "--file", str(small), "--json").json
    assert taken["file"] == str(small)
    assert json.loads(small.read_bytes())["digest"] == taken["digest"]
    assert "seal 1" in shop("seals", "--file", str(full), "--number", "1", "--full").out
    assert len(full.read_bytes().splitlines()) == 5
    assert str(full) in shop("seals", "--file", str(full), "--json").json["file"]
    for file in (small, full):
        assert shop("verify", "--seal", str(file), "--json").json["sealed"] == 4
    cut(store_file, "doc")
    shop("seal", "--anew")
    for file in (small, full):
        assert "all of it is gone" in shop("verify", "--seal", str(file), code=1).out


def test_what_can_not_be_used(shop: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert "no seal" in shop("verify", "--seal", str(other), code=2).err
    assert "can't be read" in shop("verify", "--seal", str(tmp_path / "nix"), code=2).err
    assert "no verification" in shop("verify", "--resume", str(other), code=2).err
    assert "has no seal" in shop("seals", "--file", str(other), code=2).err
    assert "--file" in shop("seals", "--full", code=2).err
    assert "can't be written" in shop("seal", "--file", str(tmp_path / "none" / "x"), code=2).err
    shop("seal", "--file", str(other), "--governor", "another")
    assert "governor 'another'" in shop("verify", "--seal", str(other), code=2).err


def test_a_verification_is_gone_on_with(shop: Cli, store_file: Path, tmp_path: Path) -> None:
    flip_entry(store_file, "doc", 2)
    progress = tmp_path / "progress.json"
    done = {"total_streams": 3, "total_events": 100, "position": "order-1"}
    of = {"url": shop.url, "governor": "default", "seal": None}
    progress.write_text(json.dumps({"eventstate": "verification 1", "of": of, "report": {**done, "findings": []}}))
    report = shop("verify", "--resume", str(progress), "--json").json
    assert (report["streams"], report["events"], report["findings"]) == (4, 101, [])
    assert not progress.exists()
    assert shop("verify", "--resume", str(progress), "--json", code=1).json["streams"] == 4
    progress.write_text(
        json.dumps({"eventstate": "verification 1", "of": {**of, "url": "x"}, "report": {"findings": []}})
    )
    assert "take another file" in shop("verify", "--resume", str(progress), code=2).err
