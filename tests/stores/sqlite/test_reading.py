"""Stores opened read-only, and the clock of a store."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from eventstate import Event, StateMachinePersister, open_store
from eventstate.core.documents import CURSOR, Key
from eventstate.runtime.blocking import drive
from tests.stores.sqlite.world import commit, engine_of, get, put

pytestmark = pytest.mark.backend("sqlite")


def test_a_read_only_store_sees_later_commits(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        persister.save_state("doc", 0, expected=0)
        with open_store(sqlite_url + "?mode=ro") as other:
            reader = StateMachinePersister(other)
            for version in range(1, 20):
                persister.save_state("doc", version, expected=version)
                assert reader.load("doc").data == version
            assert len(list(reader.history("doc"))) == 20
            persister.append("new", Event("x", state=1), expected=0)
            assert reader.load("new").version == 1
            assert len(drive(other.feed(0)).entries) == 21
            assert other.node == store.node


def test_a_read_only_store_sees_commits_of_another_process(sqlite_url: str) -> None:
    script = (
        "import sys; from eventstate import *\n"
        "with open_store(sys.argv[1]) as store:\n"
        "    StateMachinePersister(store).save_state('other', 5, expected=0)"
    )
    open_store(sqlite_url).close()
    with open_store(sqlite_url + "?mode=ro") as store:
        assert not StateMachinePersister(store).exists("other")
        subprocess.run([sys.executable, "-c", script, sqlite_url], check=True, timeout=60)
        assert StateMachinePersister(store).load("other").data == 5


def test_a_read_only_store_writes_nothing_into_the_file(tmp_path: Path, sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        StateMachinePersister(store).save_state("doc", 1, expected=0)
    before = (tmp_path / "store.db").read_bytes()
    with open_store(sqlite_url + "?mode=ro") as store:
        persister = StateMachinePersister(store)
        persister.load("doc")
        list(persister.recover())
    assert (tmp_path / "store.db").read_bytes() == before


def written_at(url: str, id: str) -> int:
    with open_store(url) as store:
        commit(store, put(id))
        return get(store, Key(CURSOR, "g", id)).written_at


def test_the_store_clock_does_not_move_with_the_wall_clock(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are measured by it: a changed wall clock must neither end nor prolong them, in any process."""
    with open_store(sqlite_url) as store:
        commit(store, put("first"))
        first = get(store, Key(CURSOR, "g", "first")).written_at
        assert abs(first - time.time_ns() // 1000) < 60_000_000
        real = time.time_ns
        for jump in (86_400, -86_400 * 365):
            with monkeypatch.context() as patch:
                patch.setattr(time, "time_ns", lambda jump=jump: real() + jump * 1_000_000_000)
                patch.setattr(time, "time", lambda jump=jump: real() / 1e9 + jump)
                read_at = drive(store.get([])).read_at
                assert 0 <= read_at - first < 60_000_000
                id = f"jump{jump}"
                commit(store, put(id))
                assert 0 <= get(store, Key(CURSOR, "g", id)).written_at - first < 60_000_000
    # Opened anew under another wall clock, it goes on where it was.
    for jump in (86_400, -86_400 * 365):
        monkeypatch.setattr(time, "time_ns", lambda jump=jump: real() + jump * 1_000_000_000)
        assert 0 <= written_at(sqlite_url, f"reopened{jump}") - first < 60_000_000


def test_the_store_clock_of_another_boot_never_goes_back(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from eventstate.stores.sqlite import clock

    first = written_at(sqlite_url, "first")
    other_boot = tmp_path / "boot_id"
    other_boot.write_text("another-boot\n")
    monkeypatch.setattr(clock, "_BOOT_ID", other_boot)
    monkeypatch.setattr(clock, "since_boot", lambda: 5_000_000)  # five seconds after start
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 10**9 * 86_400)
    second = written_at(sqlite_url, "second")
    assert second >= first
    connection = apsw.Connection(f"{tmp_path}/store.db")
    assert connection.execute("SELECT count(*) FROM meta WHERE name LIKE 'boot %'").get == 1
    connection.close()


def test_without_a_boot_id_the_wall_clock_serves(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from eventstate.stores.sqlite import clock

    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "nothing")
    assert abs(written_at(sqlite_url, "x") - time.time_ns() // 1000) < 60_000_000


def test_every_process_of_a_boot_shares_the_clock(sqlite_url: str) -> None:
    script = (
        "import sys, time; from eventstate import *; from eventstate.runtime.blocking import drive\n"
        "time.time_ns = lambda: 10**15\n"
        "with open_store(sys.argv[1]) as store: print(drive(store.get([])).read_at)"
    )
    with open_store(sqlite_url) as store:
        before = drive(store.get([])).read_at
        done = subprocess.run(
            [sys.executable, "-c", script, sqlite_url], check=True, timeout=60, capture_output=True, text=True
        )
        assert before < int(done.stdout) < drive(store.get([])).read_at
        assert engine_of(store).epoch == 1
