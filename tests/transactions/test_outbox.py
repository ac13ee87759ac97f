"""Effects through the dispatchers: at least once, under one key, in order, one dispatcher at a time, kills or not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from eventstate import (
    AsyncEffectDispatcher,
    AsyncTransactionManager,
    CorruptionError,
    DeliveryReport,
    Effect,
    EffectDispatcher,
    InvalidInputError,
    Keyring,
    Transaction,
    TransactionManager,
    open_async_store,
    open_store,
)
from eventstate.core.documents import OUTBOX, Batch, Key, Put, Require
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.transactions.dispatching import OUTBOX_LOCK


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db?durability=off"
    with open_store(url) as opened:
        yield opened


def send(tx: Transaction, *payloads: Any, name: str = "mail", key: str | None = None) -> None:
    for payload in payloads:
        tx.on_commit(name, payload, key=key)


class Inbox:
    def __init__(self) -> None:
        self.effects: list[Effect] = []

    def __call__(self, effect: Effect) -> None:
        self.effects.append(effect)

    @property
    def payloads(self) -> list[Any]:
        return [effect.payload for effect in self.effects]


def test_an_effect_goes_to_the_handler_of_its_name(store: Store) -> None:
    manager = TransactionManager(store)
    manager.execute_transaction(partial(send, name="mail"), 1)
    manager.execute_transaction(partial(send, name="wire"), 2)
    mail, wire = Inbox(), Inbox()
    dispatcher = EffectDispatcher(store, {"mail": mail, "wire": wire})
    assert dispatcher.waiting() == {"waiting": 2, "parked": 0}
    assert dispatcher.deliver() == DeliveryReport(delivered=2)
    assert (mail.payloads, wire.payloads) == ([1], [2])
    assert dispatcher.deliver() == DeliveryReport()


def test_without_a_handler_it_fails_and_is_parked(store: Store) -> None:
    TransactionManager(store).execute_transaction(partial(send, name="unheard"), 1)
    dispatcher = EffectDispatcher(store, {}, attempts=2)
    assert dispatcher.deliver() == DeliveryReport(failed=1)
    assert dispatcher.deliver() == DeliveryReport(failed=1, parked=1)
    assert dispatcher.deliver() == DeliveryReport()
    assert dispatcher.waiting() == {"waiting": 0, "parked": 1}


def test_it_is_parked_after_ten_failures_by_default(store: Store) -> None:
    TransactionManager(store).execute_transaction(send, 1)
    attempts: list[int] = []

    def fails(effect: Effect) -> None:
        attempts.append(effect.attempts)
        raise OSError("no mail today")

    dispatcher = EffectDispatcher(store, {"mail": fails})
    reports = [dispatcher.deliver() for _ in range(12)]
    assert attempts == list(range(10))
    assert reports[9] == DeliveryReport(failed=1, parked=1)
    assert reports[10] == DeliveryReport()


def test_one_that_fails_holds_up_nobody_and_comes_through_later(store: Store) -> None:
    manager = TransactionManager(store)
    manager.execute_transaction(send, "bad", "good")
    inbox = Inbox()
    is_down = True

    def mail(effect: Effect) -> None:
        if effect.payload == "bad" and is_down:
            raise OSError
        inbox(effect)

    dispatcher = EffectDispatcher(store, {"mail": mail})
    assert dispatcher.deliver() == DeliveryReport(delivered=1, failed=1)
    is_down = False
    assert dispatcher.deliver() == DeliveryReport(delivered=1)
    assert inbox.payloads == ["good", "bad"]
    assert inbox.effects[1].attempts == 1


def test_the_key_is_the_callers_or_one_of_its_own(store: Store) -> None:
    manager = TransactionManager(store)
    manager.execute_transaction(partial(send, key="mine"), 1)
    manager.execute_transaction(send, 1, 2)
    inbox = Inbox()
    EffectDispatcher(store, {"mail": inbox}).deliver()
    keys = [effect.key for effect in inbox.effects]
    assert keys[0] == "mine"
    assert len(set(keys)) == 3
    ids = [record.transaction_id for record in manager.get_transaction_log()]
    assert keys[1:] == [f"{ids[1]}:0", f"{ids[1]}:1"]


@pytest.mark.parametrize("payload", [None, True, 0, "ü", [1, [2]], {"a": {"b": None}}, 2**63, 1.5])
def test_payloads_come_as_they_were_given(store: Store, payload: Any) -> None:
    TransactionManager(store).execute_transaction(send, payload)
    inbox = Inbox()
    EffectDispatcher(store, {"mail": inbox}).deliver()
    assert inbox.payloads == [payload]


def test_the_oldest_goes_first(store: Store) -> None:
    manager = TransactionManager(store)
    for number in range(120):
        manager.execute_transaction(send, number)
    inbox = Inbox()
    assert EffectDispatcher(store, {"mail": inbox}).deliver().delivered == 120
    assert inbox.payloads == list(range(120))


def test_governors_have_outboxes_of_their_own(store: Store) -> None:
    TransactionManager(store, governor="one").execute_transaction(send, 1)
    inbox = Inbox()
    assert EffectDispatcher(store, {"mail": inbox}, governor="other").deliver() == DeliveryReport()
    assert EffectDispatcher(store, {"mail": inbox}, governor="one").deliver() == DeliveryReport(delivered=1)


def test_a_handler_may_run_transactions(store: Store) -> None:
    """A receiver that keeps the keys it has seen does each effect once, however often it comes."""
    manager = TransactionManager(store)

    def book(tx: Transaction, key: str, amount: int) -> None:
        if tx.get_document("seen", key) is None:
            tx.put_document("seen", key, True)
            tx.put_document("sum", "total", (tx.get_document("sum", "total") or 0) + amount)
            tx.on_commit("receipt", amount)

    def wire(effect: Effect) -> None:
        manager.execute_transaction(book, effect.key, effect.payload)
        if effect.attempts == 0:
            raise OSError("after it was done")

    manager.execute_transaction(partial(send, name="wire"), 1, 2, 3)
    receipts = Inbox()
    dispatcher = EffectDispatcher(store, {"wire": wire, "receipt": receipts})
    while dispatcher.waiting()["waiting"]:
        dispatcher.deliver()
    assert manager.execute_transaction(lambda tx: tx.get_document("sum", "total")) == 6
    assert receipts.payloads == [1, 2, 3]


def test_threads_that_deliver_at_the_same_time_deliver_once(store: Store) -> None:
    manager = TransactionManager(store)
    for number in range(60):
        manager.execute_transaction(send, number)
    inbox = Inbox()
    shared = EffectDispatcher(store, {"mail": inbox})
    dispatchers = [shared, shared, *(EffectDispatcher(store, {"mail": inbox}) for _ in range(3))]
    errors: list[BaseException] = []
    start = threading.Barrier(len(dispatchers))

    def work(dispatcher: EffectDispatcher) -> None:
        start.wait(30)
        try:
            for _ in range(5):
                dispatcher.deliver()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(dispatcher,), daemon=True) for dispatcher in dispatchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    EffectDispatcher(store, {"mail": inbox}).deliver()
    assert Counter(inbox.payloads) == Counter(range(60))


def test_handlers_that_are_stopped_are_not_counted_as_failed(store: Store) -> None:
    TransactionManager(store).execute_transaction(send, 1)
    seen: list[int] = []

    def mail(effect: Effect) -> None:
        seen.append(effect.attempts)
        if len(seen) == 1:
            raise KeyboardInterrupt

    dispatcher = EffectDispatcher(store, {"mail": mail}, attempts=1)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.deliver()
    assert dispatcher.deliver() == DeliveryReport(delivered=1)
    assert seen == [0, 0]


def test_a_damaged_effect_is_told(store: Store) -> None:
    key = Key(OUTBOX, "default", "x:000")
    for body in (b"{}", b"[]", b"nonsense"):
        drive(store.commit(Batch(store.runtime.unique(), (Put(key, body, Require.ANY),))))
        with pytest.raises(CorruptionError, match="x:000"):
            EffectDispatcher(store, {}).deliver()


def test_attempts_have_a_lower_bound(store: Store) -> None:
    with pytest.raises(InvalidInputError):
        EffectDispatcher(store, {}, attempts=0)


def test_the_async_dispatcher_delivers_what_the_sync_manager_left(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db?durability=off"
    with open_store(url) as store:
        TransactionManager(store).execute_transaction(send, 1, 2)

    async def main() -> tuple[list[Any], DeliveryReport]:
        got: list[Any] = []

        async def mail(effect: Effect) -> None:
            await asyncio.sleep(0)
            if effect.payload == 2 and effect.attempts == 0:
                raise OSError
            got.append(effect.payload)

        async with open_async_store(url) as store:
            dispatcher = AsyncEffectDispatcher(store, {"mail": mail})
            first, second = await asyncio.gather(dispatcher.deliver(), dispatcher.deliver())
            assert {first, second} == {DeliveryReport(), DeliveryReport(delivered=1, failed=1)}
            manager = AsyncTransactionManager(store)

            async def more(tx: Any) -> None:
                tx.on_commit("mail", 3)

            await manager.execute_transaction(more)
            report = await dispatcher.deliver()
            assert await dispatcher.waiting() == {"waiting": 0, "parked": 0}
            return got, report

    assert asyncio.run(main()) == ([1, 2, 3], DeliveryReport(delivered=2))


def test_a_dispatcher_that_is_cancelled_gives_its_turn_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db?durability=off"
    with open_store(url) as store:
        TransactionManager(store).execute_transaction(send, 1)

    async def main() -> DeliveryReport:
        reached = asyncio.Event()

        async def hangs(effect: Effect) -> None:
            reached.set()
            await asyncio.sleep(3600)

        async def mail(effect: Effect) -> None:
            assert effect.attempts == 0

        async with open_async_store(url) as store:
            task = asyncio.create_task(AsyncEffectDispatcher(store, {"mail": hangs}).deliver())
            await asyncio.wait_for(reached.wait(), 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await AsyncEffectDispatcher(store, {"mail": mail}).deliver()

    assert asyncio.run(main()) == DeliveryReport(delivered=1)


CHILD = """
import os, signal, sys
from eventstate import EffectDispatcher, open_store
url, folder, when = sys.argv[1:]
def mail(effect):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    with open(f"{folder}/received.txt", "a") as file:
        file.write(f"{effect.payload} {effect.key}\\n")
    if when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
with open_store(url) as store:
    print(EffectDispatcher(store, {"mail": mail}).deliver())
"""


@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_a_dispatcher_killed_between_handler_and_note_delivers_again(fast_folder: Path) -> None:
    url = f"sqlite:///{fast_folder}/store.db?durability=off"
    with open_store(url) as store:
        manager = TransactionManager(store)
        manager.execute_transaction(send, "a", "b")
        for when, expected in (("before", -signal.SIGKILL), ("after", -signal.SIGKILL), ("never", 0)):
            child = [sys.executable, "-c", CHILD, url, str(fast_folder), when]
            done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=False, timeout=60)
            assert done.returncode == expected
            if expected:  # its turn ends by itself after half a minute; a person may end it at once
                assert EffectDispatcher(store, {}).deliver() == DeliveryReport(), "the dead one still has its turn"
                assert manager.break_lock(OUTBOX_LOCK) is not None
        received = (fast_folder / "received.txt").read_text().splitlines()
        assert [line.split()[0] for line in received] == ["a", "a", "b"]
        assert received[0] == received[1], "it came under another key"
        assert EffectDispatcher(store, {}).waiting() == {"waiting": 0, "parked": 0}
    assert os.path.exists(fast_folder / "store.db")


@pytest.mark.parametrize("encrypts", [True, False])
def test_what_a_handler_says_of_an_encrypted_payload_is_not_kept(store: Store, encrypts: bool) -> None:
    with open_store("memory://") as keys:
        keyring = Keyring(keys)
        letter = {"to": "ada@example.org"}
        payload = {"letter": keyring.encrypt("ada", letter, place="letters") if encrypts else letter}
        TransactionManager(store).execute_transaction(send, payload)

        def fail(effect: Effect) -> None:
            told = effect.payload["letter"]
            raise ValueError((keyring.decrypt(told, place="letters") if encrypts else told)["to"])

        dispatcher = EffectDispatcher(store, {"mail": fail}, attempts=2)
        for _ in range(2):
            assert dispatcher.deliver().failed == 1
            (document,) = drive(store.scan(OUTBOX, "default")).documents
            problem = orjson.loads(document.body)["problem"]
            assert problem == ("ValueError" if encrypts else "ValueError: ada@example.org")
