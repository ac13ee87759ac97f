"""Locks and transactions on the command line."""

from __future__ import annotations

import pytest

from eventstate import LockManager, TransactionManager, open_store
from tests.cli.conftest import Cli


@pytest.fixture
def busy(cli: Cli) -> Cli:
    """A store with a lock that is held, one that has expired, and three transactions."""
    with open_store(cli.url) as store:
        manager = TransactionManager(store)
        manager.acquire_lock("report", "worker-1", ttl=600, purpose="nightly")
        manager.acquire_lock("stale", "worker-2", ttl=0.001)
        manager.execute_transaction(lambda tx: tx.put_document("stock", "nut", 4))
        manager.execute_transaction(lambda tx: tx.get_document("stock", "nut"))
        with pytest.raises(ZeroDivisionError):
            manager.execute_transaction(lambda tx: 1 // (tx.get_document("stock", "bolt") or 0))
    return cli


def test_locks_are_listed(busy: Cli) -> None:
    report, stale = busy("locks", "--json").lines
    assert (report["resource"], report["client_id"], report["purpose"]) == ("report", "worker-1", "nightly")
    assert (report["lock_token"], report["waiting"], report["is_expired"]) == ("1-1", 0, False)
    assert 500 < report["expires_in"] <= 600
    assert stale["is_expired"]
    table = busy("locks").out
    assert "worker-1" in table
    assert "expired" in table


def test_a_lock_is_broken(busy: Cli) -> None:
    with open_store(busy.url) as store:
        lock = LockManager(store).acquire_lock("door", "a", ttl=600)
        ran = busy("lock", "break", "door", "--yes", "--json")
        assert ran.json["client_id"] == "a"
        assert ran.json["lock_token"] == lock.lock_token
        again = LockManager(store).acquire_lock("door", "b", wait=0)
        assert again.fence.number > lock.fence.number


def test_breaking_a_lock_asks_first(busy: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return len(asked) > 1

    monkeypatch.setattr("typer.confirm", confirm)
    assert "nothing was done" in busy("lock", "break", "report", code=130).err
    assert "'worker-1' holds 'report' (token 1-1" in asked[0]
    assert [line["resource"] for line in busy("locks", "--json").lines] == ["report", "stale"]
    assert "is broken" in busy("lock", "break", "report").out
    assert [line["resource"] for line in busy("locks", "--json").lines] == ["stale"]


def test_a_lock_that_nobody_holds(busy: Cli) -> None:
    assert "nobody holds a lock on 'door'" in busy("lock", "break", "door", code=3).err


def test_transactions_are_listed(busy: Cli) -> None:
    done, failed = busy("transactions", "--json").lines
    assert done["status"] == "committed"
    assert done["writes"] == ["document default/stock/nut"]
    assert done["reads"] == []
    assert failed["status"] == "rolled back"
    assert failed["reads"] == ["document default/stock/bolt"]
    assert failed["reason"].startswith("ZeroDivisionError: ")
    assert "rolled back" in busy("transactions").out


def test_some_transactions(busy: Cli) -> None:
    assert len(busy("transactions", "--status", "rolled-back", "--json").lines) == 1
    assert len(busy("transactions", "--limit", "1", "--json").lines) == 1
    assert busy("transactions", "--since", "2999-01-01", "--json").lines == []
    assert len(busy("transactions", "--since", "2020-01-01", "--json").lines) == 2


def test_one_transaction(busy: Cli) -> None:
    done = busy("transactions", "--json").lines[0]
    assert busy("transactions", done["transaction_id"], "--json").json == done
    shown = busy("transactions", done["transaction_id"]).out
    assert "document default/stock/nut" in shown
    assert "no record of transaction 'nope'" in busy("transactions", "nope", code=3).err


def test_a_status_that_does_not_exist(busy: Cli) -> None:
    assert "'committed', 'rolled back', 'failed'" in busy("transactions", "--status", "lost", code=2).err
