"""The log of transactions through the managers: what a person sees, after a crash as well."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    AsyncTransactionManager,
    ConfigurationError,
    CorruptionError,
    Event,
    InvalidInputError,
    Transaction,
    TransactionManager,
    TransactionRecord,
    TransactionStatus,
    open_async_store,
    open_store,
)
from eventstate.core.documents import TRANSACTION, Batch, Key, Put, Require
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.transactions import records
from eventstate.transactions.records import MAX_KEYS, decode_record, first_id_at, new_transaction_id


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db?durability=off"
    with open_store(url) as opened:
        yield opened


def put(tx: Transaction, id: str, value: Any = 1) -> Any:
    tx.put_document("c", id, value)
    return value


def fail(tx: Transaction) -> None:
    tx.put_document("c", "never", 1)
    raise ZeroDivisionError("on purpose")


def test_the_log_can_be_asked_by_status_and_time(store: Store) -> None:
    manager = TransactionManager(store)
    for number in range(3):
        manager.execute_transaction(put, "a", number)
    with pytest.raises(ZeroDivisionError):
        manager.execute_transaction(fail)
    time.sleep(0.01)
    noon = datetime.now(UTC)
    manager.execute_transaction(put, "a", 3)
    log = list(manager.get_transaction_log())
    assert [record.status.name for record in log] == ["COMMITTED"] * 3 + ["ROLLED_BACK", "COMMITTED"]
    assert [record.result for record in manager.get_transaction_log(status=TransactionStatus.COMMITTED)] == [0, 1, 2, 3]
    (failed,) = manager.get_transaction_log(status=TransactionStatus.ROLLED_BACK)
    assert failed.reason == "ZeroDivisionError: on purpose"
    assert failed.writes == ("document default/c/never",)
    assert [record.result for record in manager.get_transaction_log(since=noon)] == [3]
    assert list(manager.get_transaction_log(since=noon + timedelta(hours=1))) == []
    assert len(list(manager.get_transaction_log(since=noon - timedelta(days=10_000)))) == 5
    with pytest.raises(InvalidInputError):
        list(manager.get_transaction_log(since=noon.replace(tzinfo=None)))
    for record in log:
        assert manager.get_transaction(record.transaction_id) == record
        assert record.start_time.tzinfo is not None
        assert record.start_time <= record.end_time


def test_the_log_is_read_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = TransactionManager(store)
    for number in range(7):
        manager.execute_transaction(put, "a", number)
    monkeypatch.setattr(records, "PAGE", 2)
    assert [record.result for record in manager.get_transaction_log()] == list(range(7))
    iterator = manager.get_transaction_log()
    assert next(iterator).result == 0
    manager.execute_transaction(put, "a", 7)
    assert [record.result for record in iterator] == list(range(1, 8))


def test_the_async_log_is_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    async def main() -> list[TransactionRecord]:
        async with open_async_store(url) as store:
            manager = AsyncTransactionManager(store)

            async def operation(tx: Any) -> int:
                await tx.put_document("c", "a", 1)
                return 5

            assert await manager.execute_transaction(operation) == 5
            found = [record async for record in manager.get_transaction_log()]
            assert await manager.get_transaction(found[0].transaction_id) == found[0]
            assert await manager.get_transaction("none") is None
            assert await manager.prune_transactions() == 0
            return found

    found = asyncio.run(main())
    with open_store(url) as store:
        assert list(TransactionManager(store).get_transaction_log()) == found


def test_records_can_be_left_out(store: Store) -> None:
    manager = TransactionManager(store, keep_records=False)
    manager.execute_transaction(put, "a")
    with pytest.raises(ZeroDivisionError):
        manager.execute_transaction(fail)
    assert list(manager.get_transaction_log()) == []


def test_governors_have_logs_of_their_own(store: Store) -> None:
    one, other = TransactionManager(store, governor="one"), TransactionManager(store, governor="other")
    one.execute_transaction(put, "a", 1)
    other.execute_transaction(put, "a", 2)
    assert [record.result for record in one.get_transaction_log()] == [1]
    assert [record.result for record in other.get_transaction_log()] == [2]
    assert one.execute_transaction(lambda tx: tx.get_document("c", "a")) == 1


def test_long_lists_and_reasons_are_cut_short(store: Store) -> None:
    manager = TransactionManager(store)

    def many(tx: Transaction) -> str:
        for number in range(MAX_KEYS + 50):
            tx.get_document("c", f"read-{number:04d}")
            tx.put_document("c", f"write-{number:04d}", 1)
        return "x" * 5000

    manager.execute_transaction(many)

    def fails(tx: Transaction) -> None:
        raise ZeroDivisionError("x" * 10_000)

    with pytest.raises(ZeroDivisionError):
        manager.execute_transaction(fails)
    first, second = manager.get_transaction_log()
    assert len(first.writes) == MAX_KEYS + 1
    assert first.writes[-1] == "and 50 more"
    assert first.reads[-1] == "and 50 more"
    assert first.result is None, "a long result is not kept"
    assert second.reason is not None
    assert len(second.reason) <= 1000


def test_retention_has_a_lower_bound(store: Store) -> None:
    for retention in (timedelta(0), timedelta(minutes=59), timedelta(days=-1)):
        with pytest.raises(ConfigurationError):
            TransactionManager(store, retention=retention)
    assert TransactionManager(store, retention=timedelta(hours=1)).prune_transactions() == 0


def test_a_damaged_record_is_told(store: Store) -> None:
    manager = TransactionManager(store)
    manager.execute_transaction(put, "a")
    (record,) = manager.get_transaction_log()
    key = Key(TRANSACTION, "default", record.transaction_id)
    for body in (b"{}", b"[]", b"nonsense", b'{"status":"odd"}'):
        drive(store.commit(Batch(store.runtime.unique(), (Put(key, body, Require.EXISTS),))))
        with pytest.raises(CorruptionError):
            manager.get_transaction(record.transaction_id)
        with pytest.raises(CorruptionError):
            list(manager.get_transaction_log())


def test_ids_sort_by_time() -> None:
    chance = random.Random(1)
    times = sorted(chance.randrange(2**52) for _ in range(1000))
    ids = [new_transaction_id(now, f"{chance.random()}") for now in times]
    assert ids == sorted(ids)
    for now, id in zip(times, ids, strict=True):
        assert first_id_at(now) <= id
        assert first_id_at(now + 1) > id
    assert first_id_at(-5) == first_id_at(0)


def test_one_after_the_other_has_the_later_id(store: Store) -> None:
    """Even within one millisecond: effects and the log are in this order."""
    manager = TransactionManager(store)
    for number in range(200):
        manager.execute_transaction(put, "a", number)
    assert [record.result for record in manager.get_transaction_log()] == list(range(200))


def test_what_a_record_says_is_kept(store: Store) -> None:
    manager = TransactionManager(store)
    manager.execute_transaction(put, "a", {"ü": [1, None, "x"]})
    (record,) = manager.get_transaction_log()
    key = Key(TRANSACTION, "default", record.transaction_id)
    assert decode_record(drive(store.get((key,))).documents[key]) == record
    assert record.result == {"ü": [1, None, "x"]}


CHILD = """
import os, sys
from eventstate import Event, TransactionManager, open_store
store = open_store(sys.argv[1])
manager = TransactionManager(store)
def operation(tx, number):
    tx.put_document("c", str(number), number)
    if number % 2:
        tx.append(f"thing-{number}", Event("made", state=number), expected=0)
    return number
number = 0
while True:
    number += 1
    manager.execute_transaction(operation, number)
    os.write(1, f"{number}\\n".encode())
"""


@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_records_are_readable_after_a_crash(fast_folder: Path) -> None:
    """A record for each transaction that is there, and a transaction for each record: none was half."""
    url = f"sqlite:///{fast_folder}/store.db?durability=off"
    acknowledged = 0
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", CHILD, url], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _line in range(random.randrange(5, 60)):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        rest, _ = child.communicate()
        acknowledged = int(rest.split()[-1]) if rest.split() else acknowledged
        with open_store(url) as store:
            manager = TransactionManager(store)
            log = list(manager.get_transaction_log())
            results = [record.result for record in log]
            assert acknowledged <= max(results)
            assert all(record.status is TransactionStatus.COMMITTED for record in log)

            def there(tx: Transaction, part: list[int]) -> list[Any]:
                return [tx.get_document("c", str(number)) for number in part]

            numbers = list(range(1, max(results) + 2))
            found = [x for x in manager.execute_transaction(there, numbers[:400]) if x is not None]
            assert found == sorted(set(results))[:400]
            for record in log:
                if record.result % 2:
                    assert f"head default/thing-{record.result}" in record.writes
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            (fast_folder / name).unlink(missing_ok=True)
        acknowledged = 0


def test_a_state_is_named_in_its_record(store: Store) -> None:
    manager = TransactionManager(store)
    manager.execute_transaction(lambda tx: tx.append("thing-1", Event("made", state=1), expected=0).version)
    (record,) = manager.get_transaction_log()
    assert (record.writes, record.reads, record.result) == (
        ("head default/thing-1",),
        ("head default/thing-1",),
        1,
    )
