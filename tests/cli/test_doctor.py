"""``eventstate doctor``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")


def checks(cli: Cli, *options: str, url: str | None = None, code: int = 0) -> dict[str, tuple[str, str]]:
    found: Any = cli.run(["doctor", "--json", *options, "--url", url or cli.url], code).json
    assert found["is_healthy"] == (code == 0)
    return {check["name"]: (check["level"], check["text"]) for check in found["checks"]}


def test_a_healthy_store(shop: Cli, store_file: Path) -> None:
    found = checks(shop, "--check")
    assert {name for name, (level, _) in found.items() if level != "ok"} == set()
    assert str(store_file) in found["file"][1]
    assert found["rights"][1].startswith("-rw-------")
    assert apsw.sqlitelibversion() in found["sqlite"][1]
    assert found["durability"][1].startswith("synchronous=FULL")
    assert found["journal"][1] == "WAL"
    assert "wal_autocheckpoint=0" in found["pragmas"][1]
    assert "verify" in found["integrity"][1]
    assert set(found) >= {"eventstate", "log", "folder", "disk", "node"}


def test_for_people(shop: Cli) -> None:
    lines = shop("doctor").out.splitlines()
    assert lines[0].split() == ["what", "found"]
    assert all(line.split()[0] in ("ok", "warn", "bad") for line in lines[2:])


def test_without_check_the_file_is_not_read_through(shop: Cli) -> None:
    assert "integrity" not in checks(shop)


def test_weaker_durability_is_a_warning(shop: Cli) -> None:
    assert checks(shop, url=f"{shop.url}?durability=normal")["durability"][0] == "warn"
    assert checks(shop, url=f"{shop.url}?durability=off")["durability"][0] == "warn"


def test_rights_for_others_are_a_warning(shop: Cli, store_file: Path) -> None:
    store_file.chmod(0o644)
    assert checks(shop)["rights"][0] == "warn"


def test_read_only(shop: Cli) -> None:
    assert checks(shop, url=f"{shop.url}?mode=ro")["durability"] == ("ok", "opened read-only: nothing is written")


def test_who_has_it_open(shop: Cli, store_file: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("only Linux tells")
    hold = f"import sys\nfile = open({str(store_file)!r})\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert f"{holder.pid} (python" in checks(shop)["open in"][1]
        assert str(os.getpid()) not in checks(shop)["open in"][1]
        holder.communicate()


def test_no_file(cli: Cli, store_file: Path) -> None:
    assert checks(cli, code=1)["file"][0] == "bad"
    assert not store_file.exists()


def test_no_store(cli: Cli, store_file: Path) -> None:
    store_file.write_bytes(b"This is a text, and not a short one." * 100)
    level, text = checks(cli, code=1)["store"]
    assert level == "bad"
    assert "not an eventstate store" in text


def test_broken_structures(shop: Cli, store_file: Path) -> None:
    connection = apsw.Connection(str(store_file))
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_documents_1'").get
    size = connection.pragma("page_size")
    connection.close()
    with store_file.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 16)
    level, text = checks(shop, "--check", code=1)["integrity"]
    assert level == "bad"
    assert "restore a backup" in text


def test_memory_keeps_nothing(cli: Cli) -> None:
    assert checks(cli, url="memory://")["durability"][0] == "warn"


def test_no_such_kind_of_store(cli: Cli) -> None:
    assert checks(cli, url="nix://x", code=1)["url"][0] == "bad"


@pytest.mark.backend("firestore")
def test_firestore(cli: Cli, emulator_host: str, project_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator_host)
    found = checks(cli, url=f"firestore://{project_id}?root=a/b")
    assert found["project"] == ("ok", project_id)
    assert found["database"] == ("ok", "(default)")
    assert found["root"] == ("ok", "a/b")
    assert found["emulator"][0] == "warn"
    assert found["reachable"][1].startswith("answers in")
