"""recover, verify, backup, restore."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.damage import flip_entry, flip_head

pytestmark = pytest.mark.backend("sqlite")

MACHINES = ("--machines", "tests.cli.shop:ORDERS")


def test_recover_where_all_is_well(shop: Cli) -> None:
    report = shop("recover", "--json", *MACHINES).json
    assert report.pop("seconds") >= 0
    assert report == {"total": 4, "current": 3, "rebuilt": 0, "deleted": 1, "lost": 0, "problems": []}
    assert shop("recover").out.split()[:4] == ["total", "4", "current", "3"]


def test_recover_rebuilds_a_bad_head(shop: Cli, store_file: Path) -> None:
    flip_head(store_file, "order-1")
    report = shop("recover", "--json", *MACHINES).json
    assert (report["rebuilt"], report["lost"]) == (1, 0)
    assert "order-1" in report["problems"][0]
    assert shop("recover", "--json", *MACHINES).json["rebuilt"] == 0
    assert shop("verify", "--json", *MACHINES).json["is_consistent"]


def test_a_lost_state_is_a_finding(shop: Cli, store_file: Path) -> None:
    flip_head(store_file, "doc")
    flip_entry(store_file, "doc", 1)
    lost = shop("recover", "--json", code=1).json
    assert (lost["lost"], lost["current"]) == (1, 2)
    assert "entry default/doc:1 is corrupt" in lost["problems"][-1]
    assert "entry default/doc:1 is corrupt" in shop("recover", code=1).err
    assert "entry default/doc:1 is corrupt" in shop("show", "doc", code=1).err


def test_verify_where_all_is_well(shop: Cli) -> None:
    report = shop("verify", "--json", *MACHINES).json
    assert report.pop("seconds") >= 0
    totals = {"streams": 4, "events": 7, "snapshots": 0}
    against = {"seal": None, "sealed": 0, "pruned": 0}
    assert report == {"is_consistent": True, **totals, **against, "findings": [], "unlisted": 0}
    assert shop("verify").out.endswith("all as written\n")


def test_verify_names_the_first_bad_entry(shop: Cli, store_file: Path) -> None:
    flip_entry(store_file, "order-1", 2)
    flip_entry(store_file, "doc", 2)
    report = shop("verify", "--json", *MACHINES, code=1).json
    assert not report["is_consistent"]
    assert [(f["state_id"], f["where"]) for f in report["findings"]] == [
        ("doc", "entry default/doc:2"),
        ("order-1", "entry default/order-1:2"),
    ]
    text = shop("verify", code=1).out
    assert "2 findings" in text
    assert "entry default/order-1:2" in text


def test_a_backup_comes_back(shop: Cli, store_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    made = shop("backup", str(copy), "--json").json
    assert (made["file"], made["bytes"]) == (str(copy), copy.stat().st_size)
    assert str(copy) in shop("backup", str(copy), code=2).err
    flip_entry(store_file, "doc", 1)
    shop("verify", code=1)
    assert "--replace" in shop("restore", str(copy), code=2).err
    restored = shop("restore", str(copy), "--replace", "--json").json
    assert (restored["restored"], restored["bytes"]) == (str(store_file), copy.stat().st_size)
    assert shop("verify", "--json").json["events"] == 7


def test_a_backup_becomes_a_new_store(shop: Cli, tmp_path: Path) -> None:
    copy, new = tmp_path / "copy.db", f"sqlite:///{tmp_path / 'new.db'}"
    assert "bytes in" in shop("backup", str(copy)).out
    assert "restored from" in shop.run(["restore", str(copy), "--url", new], 0).out
    assert shop.run(["stats", "--url", new, "--json"], 0).json["total_events"] == 7


def test_what_is_no_backup(shop: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"no database at all" * 100)
    new = f"sqlite:///{tmp_path / 'new.db'}"
    shop.run(["restore", str(other), "--url", new], 5)
    shop.run(["restore", str(tmp_path / "nix.db"), "--url", new], 2)
    assert not (tmp_path / "new.db").exists()


def test_only_sqlite_has_backups(cli: Cli, tmp_path: Path) -> None:
    for command in ("backup", "restore"):
        assert "SQLite" in cli.run([command, str(tmp_path / "x"), "--url", "memory://"], 2).err
