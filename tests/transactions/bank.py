"""Transfers between accounts, and what must be true of them; as a module for ``reaping.py``, in processes."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eventstate import Event, Machine, RetryPolicy, StateMachinePersister, Transaction, TransactionManager, open_store
from eventstate.core.documents import DOCUMENT, Key
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store

ACCOUNTS, START = 8, 100
GOVERNOR = "bank"
FILE = "store.db"
PATIENT = RetryPolicy(attempts=1000, initial=0.002, cap=0.05, timeout=60)


@dataclass(frozen=True)
class Account:
    balance: int = 0


@dataclass(frozen=True)
class Booked:
    amount: int


def evolve(account: Account, event: Booked) -> Account:
    return Account(account.balance + event.amount)


accounts = Machine("account", Account(), evolve)


class NotEnough(Exception):
    """The balance is too small."""


class Transfer(NamedTuple):
    source: int
    target: int
    amount: int
    mark: str


def draw(chance: random.Random, mark: str) -> Transfer:
    source, target = chance.sample(range(ACCOUNTS), 2)
    return Transfer(source, target, chance.randrange(1, 60), mark)


def open_bank(tx: Transaction) -> None:
    for number in range(ACCOUNTS):
        tx.put_document("accounts", str(number), START)
        tx.append(accounts, str(number), Booked(START), expected=0)


def move_documents(tx: Transaction, source: int, target: int, amount: int, mark: str) -> str:
    balance = tx.get_document("accounts", str(source))
    if balance < amount:
        raise NotEnough(mark)
    tx.put_document("accounts", str(source), balance - amount)
    tx.put_document("accounts", str(target), tx.get_document("accounts", str(target)) + amount)
    tx.put_document("journal", mark, [source, target, amount])
    return f"moved {mark}"


def move_states(tx: Transaction, source: int, target: int, amount: int, mark: str) -> str:
    if tx.load(accounts, str(source)).data.balance < amount:
        raise NotEnough(mark)
    tx.append(accounts, str(source), Booked(-amount), reason=mark)
    tx.append(accounts, str(target), Booked(amount), reason=mark)
    tx.append(f"ledger-{mark}", Event("moved", state=[source, target, amount]), expected=0)
    return f"moved {mark}"


def balances_of_documents(tx: Transaction) -> list[int]:
    return [tx.get_document("accounts", str(number)) for number in range(ACCOUNTS)]


def balances_of_states(tx: Transaction) -> list[int]:
    return [tx.load(accounts, str(number)).data.balance for number in range(ACCOUNTS)]


def happened_to_documents(tx: Transaction, mark: str) -> bool:
    return tx.get_document("journal", mark) is not None


def happened_to_states(tx: Transaction, mark: str) -> bool:
    return tx.find(f"ledger-{mark}") is not None


HAPPENED: dict[str, Any] = {"documents": happened_to_documents, "states": happened_to_states}
MOVES: dict[str, Any] = {"documents": move_documents, "states": move_states}
BALANCES: dict[str, Any] = {"documents": balances_of_documents, "states": balances_of_states}


def manager_on(store: Store) -> TransactionManager:
    return TransactionManager(store, governor=GOVERNOR, machines=[accounts], retry=PATIENT)


def journal(store: Store) -> dict[str, list[int]]:
    """All transfers between documents that happened, by mark."""
    found: dict[str, list[int]] = {}
    after: Key | None = None
    while True:
        page = drive(store.scan(DOCUMENT, GOVERNOR, prefix="journal/", after=after))
        marks = [document.key.id.removeprefix("journal/") for document in page.documents]
        for start in range(0, len(marks), 400):
            part = marks[start : start + 400]
            values = manager_on(store).execute_transaction(
                lambda tx, part=part: [tx.get_document("journal", m) for m in part]
            )
            found.update(zip(part, values, strict=True))
        after = page.next
        if after is None:
            return found


def ledgers(store: Store) -> dict[str, list[int]]:
    """All transfers between states that happened, by mark; each must be there once."""
    persister = StateMachinePersister(store, governor=GOVERNOR, machines=[accounts])
    found: dict[str, list[int]] = {}
    for item in persister.recover():
        if item.id.startswith("ledger-"):
            assert item.version == 1, f"{item.id} happened {item.version} times"
            found[item.id.removeprefix("ledger-")] = item.data
    return found


def bookings(store: Store) -> Counter[str]:
    """How often each transfer was booked in the histories of accounts: twice is right."""
    persister = StateMachinePersister(store, governor=GOVERNOR, machines=[accounts])
    found: Counter[str] = Counter()
    for number in range(ACCOUNTS):
        found.update(str(step.metadata.reason) for step in persister.history(accounts, str(number)) if step.version > 1)
    return found


def problems(store: Store, kind: str, told: dict[str, Transfer]) -> list[str]:
    """What is wrong with the bank, given the transfers that were acknowledged."""
    wrong: list[str] = []
    balances = manager_on(store).execute_transaction(BALANCES[kind])
    if sum(balances) != ACCOUNTS * START:
        wrong.append(f"the sum is {sum(balances)}")
    if min(balances) < 0:
        wrong.append(f"a balance is negative: {balances}")
    happened = journal(store) if kind == "documents" else ledgers(store)
    expected = [START] * ACCOUNTS
    for source, target, amount in happened.values():
        expected[source] -= amount
        expected[target] += amount
    if expected != balances:
        wrong.append(f"the balances are {balances}, the transfers lead to {expected}")
    for mark, transfer in told.items():
        if happened.get(mark) != list(transfer[:3]):
            wrong.append(f"{mark} was acknowledged, and there is {happened.get(mark)}")
    if kind == "states":
        wrong += [f"{mark} was booked {count} times" for mark, count in bookings(store).items() if count != 2]
    if not StateMachinePersister(store, governor=GOVERNOR, machines=[accounts]).validate_consistency().is_consistent:
        wrong.append("verification finds something")
    return wrong


# As a module for reaping.py. Each line of a log is written by one system call.


class Line(NamedTuple):
    what: str
    key: str
    kind: str
    transfer: Transfer


def lines(folder: Path, name: str = "*") -> Iterator[Line]:
    for log in sorted(folder.glob(f"{name}.log")):
        for line in log.read_text().split("\n")[:-1]:
            what, key, kind, source, target, amount = line.split(" ")
            yield Line(what, key, kind, Transfer(int(source), int(target), int(amount), key))


def work(folder: Path, name: str, life: int) -> None:
    """Transfers without end. What the one before was killed in is repeated first, under the same key."""
    parent = os.getppid()
    chance = random.Random(f"{folder.name}{name}{life}")
    answered: set[str] = set()
    last: Line | None = None
    for line in lines(folder, name):
        if line.what == "begin":
            last = line
        else:
            answered.add(line.key)
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(what: str, kind: str, transfer: Transfer) -> None:
        words = (what, transfer.mark, kind, *transfer[:3])
        os.write(log, (" ".join(map(str, words)) + "\n").encode())

    with open_store(f"sqlite:///{folder / FILE}?durability=off") as store:
        manager = manager_on(store)

        def transfer(kind: str, one: Transfer) -> None:
            try:
                result = manager.execute_transaction(MOVES[kind], *one, idempotency_key=one.mark)
            except NotEnough:
                note("refused", kind, one)
            else:
                assert result == f"moved {one.mark}", result
                if chance.random() < 0.2:
                    time.sleep(0.01)  # a caller that is slow to note the answer
                note("done", kind, one)

        if last is not None and last.key not in answered:
            has_landed = manager.execute_transaction(HAPPENED[last.kind], last.key)
            note("landed" if has_landed else "lost", last.kind, last.transfer)
            transfer(last.kind, last.transfer)
        number = 0
        while os.getppid() == parent:
            number += 1
            one = draw(chance, f"{name}.{life}.{number}")
            kind = chance.choice(("documents", "states"))
            note("begin", kind, one)
            transfer(kind, one)


def count(folder: Path) -> int:
    return sum(path.read_bytes().count(b"done ") for path in folder.glob("*.log"))
