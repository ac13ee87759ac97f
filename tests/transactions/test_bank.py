"""A bank: its sum is constant, no balance is negative, and each transfer that was acknowledged happened once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eventstate import AsyncTransaction, AsyncTransactionManager, open_async_store, open_store
from eventstate.runtime.aio import AsyncioRuntime
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store
from tests.transactions import bank
from tests.transactions.bank import (
    ACCOUNTS,
    FILE,
    GOVERNOR,
    MOVES,
    PATIENT,
    Booked,
    NotEnough,
    Transfer,
    accounts,
    draw,
    lines,
    manager_on,
    open_bank,
    problems,
)
from tests.transactions.reaping import reap

TRANSFERS = 16
KINDS = pytest.mark.parametrize("kind", ["documents", "states"])


@pytest.fixture(params=["memory", "sqlite", "firestore"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "firestore":
        return f"firestore:{request.getfixturevalue('emulator_host')} {request.getfixturevalue('project_id')}"
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db?durability=off"


def opened(url: str) -> Store:
    if not url.startswith("firestore:"):
        return open_store(url)
    return _on_emulator(url, BlockingRuntime())


def _on_emulator(url: str, runtime: Any) -> Store:
    from eventstate.stores.firestore import open_firestore

    host, project = url.removeprefix("firestore:").split(" ")
    return open_firestore(project, runtime=runtime, emulator_host=host)


def acknowledged(outcomes: dict[str, Transfer | BaseException]) -> dict[str, Transfer]:
    """The transfers that went well; all others must have been refused for one reason."""
    for outcome in outcomes.values():
        assert isinstance(outcome, Transfer | NotEnough), outcome
    assert len(outcomes) == TRANSFERS
    return {mark: outcome for mark, outcome in outcomes.items() if isinstance(outcome, Transfer)}


@KINDS
def test_transfers_in_threads(url: str, kind: str) -> None:
    chance = random.Random(1)
    outcomes: dict[str, Transfer | BaseException] = {}
    with opened(url) as store:
        manager = manager_on(store)
        manager.execute_transaction(open_bank)
        start = threading.Barrier(TRANSFERS)

        def run(transfer: Transfer, manager: Any) -> None:
            start.wait(30)
            try:
                assert manager.execute_transaction(MOVES[kind], *transfer) == f"moved {transfer.mark}"
                outcomes[transfer.mark] = transfer
            except BaseException as error:
                outcomes[transfer.mark] = error

        transfers = [draw(chance, f"t{number}") for number in range(TRANSFERS)]
        managers = [manager if number % 2 else manager_on(store) for number in range(TRANSFERS)]
        threads = [
            threading.Thread(target=run, args=args, daemon=True) for args in zip(transfers, managers, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        told = acknowledged(outcomes)
        assert len(told) >= TRANSFERS / 2
        assert problems(store, kind, told) == []


async def move_documents(tx: AsyncTransaction, source: int, target: int, amount: int, mark: str) -> str:
    balance = await tx.get_document("accounts", str(source))
    if balance < amount:
        raise NotEnough(mark)
    await tx.put_document("accounts", str(source), balance - amount)
    await tx.put_document("accounts", str(target), await tx.get_document("accounts", str(target)) + amount)
    await tx.put_document("journal", mark, [source, target, amount])
    return f"moved {mark}"


async def move_states(tx: AsyncTransaction, source: int, target: int, amount: int, mark: str) -> str:
    if (await tx.load(accounts, str(source))).data.balance < amount:
        raise NotEnough(mark)
    await tx.append(accounts, str(source), Booked(-amount), reason=mark)
    await tx.append(accounts, str(target), Booked(amount), reason=mark)
    await tx.save_state(f"ledger-{mark}", [source, target, amount], expected=0)
    return f"moved {mark}"


async def open_accounts(tx: AsyncTransaction) -> None:
    for number in range(ACCOUNTS):
        await tx.put_document("accounts", str(number), bank.START)
        await tx.append(accounts, str(number), Booked(bank.START), expected=0)


@KINDS
def test_transfers_in_tasks(url: str, kind: str, tmp_path: Path) -> None:
    chance = random.Random(2)
    outcomes: dict[str, Transfer | BaseException] = {}
    wrong: list[str] = []

    async def main() -> None:
        store = _on_emulator(url, AsyncioRuntime()) if url.startswith("firestore:") else open_async_store(url)
        async with store:
            managers = [
                AsyncTransactionManager(store, governor=GOVERNOR, machines=[accounts], retry=PATIENT) for _ in range(3)
            ]
            await managers[0].execute_transaction(open_accounts)
            move = move_documents if kind == "documents" else move_states

            async def run(transfer: Transfer, manager: AsyncTransactionManager) -> None:
                try:
                    assert await manager.execute_transaction(move, *transfer) == f"moved {transfer.mark}"
                    outcomes[transfer.mark] = transfer
                except Exception as error:
                    outcomes[transfer.mark] = error

            transfers = [draw(chance, f"t{number}") for number in range(TRANSFERS)]
            await asyncio.gather(*(run(transfer, managers[n % 3]) for n, transfer in enumerate(transfers)))
            if url == "memory://":  # it is gone with its store: looked at from here
                wrong.extend(await _problems_in_loop(managers[0], kind, acknowledged(outcomes)))

    asyncio.run(main())
    if url != "memory://":
        with opened(url) as store:
            wrong += problems(store, kind, acknowledged(outcomes))
    assert wrong == []


async def _problems_in_loop(manager: AsyncTransactionManager, kind: str, told: dict[str, Transfer]) -> list[str]:
    async def balances(tx: AsyncTransaction) -> list[int]:
        if kind == "documents":
            return [await tx.get_document("accounts", str(number)) for number in range(ACCOUNTS)]
        return [(await tx.load(accounts, str(number))).data.balance for number in range(ACCOUNTS)]

    async def found(tx: AsyncTransaction) -> list[Any]:
        if kind == "documents":
            return [await tx.get_document("journal", mark) for mark in told]
        return [(await tx.load(f"ledger-{mark}")).data for mark in told]

    seen = await manager.execute_transaction(balances)
    expected = [bank.START] * ACCOUNTS
    for source, target, amount, _ in told.values():
        expected[source] -= amount
        expected[target] += amount
    wrong = [] if seen == expected and min(seen) >= 0 else [f"the balances are {seen}, not {expected}"]
    if await manager.execute_transaction(found) != [list(transfer[:3]) for transfer in told.values()]:
        wrong.append("the journal is not what was acknowledged")
    return wrong


def kill_bankers(folder: Path, target: int, kills: int, limit: float) -> None:
    seed = random.randrange(10**9)
    with open_store(f"sqlite:///{folder / FILE}") as store:
        manager_on(store).execute_transaction(open_bank)
    began = time.monotonic()
    done = reap(bank.__name__, folder, seed=seed, kills=kills, target=target, life=0.8, names="a,b,c,d", limit=limit)
    taken = time.monotonic() - began
    said = Counter(line.what for line in lines(folder))
    with open_store(f"sqlite:///{folder / FILE}") as store:
        for kind in ("documents", "states"):
            told = {one.key: one.transfer for one in lines(folder) if (one.what, one.kind) == ("done", kind)}
            wrong = problems(store, kind, told)
            assert wrong == [], f"seed {seed}"
            refused = {one.key for one in lines(folder) if (one.what, one.kind) == ("refused", kind)}
            happened = bank.journal(store) if kind == "documents" else bank.ledgers(store)
            assert not refused & happened.keys(), "what was said to be refused has happened"
    print(f"{dict(said)}; {done} kills in {taken:.1f} s")
    assert done >= kills
    assert said["done"] >= target
    assert said["landed"] > 0, "no kill was between a commit and its acknowledgement"
    assert said["lost"] > 0, "no kill was before a commit"


@pytest.mark.serial
@pytest.mark.timeout(400)
@pytest.mark.backend("sqlite")
def test_bankers_that_are_killed(fast_folder: Path) -> None:
    kill_bankers(fast_folder, target=1_500, kills=40, limit=300)


@pytest.mark.torture
@pytest.mark.serial
@pytest.mark.timeout(3600)
@pytest.mark.backend("sqlite")
def test_bankers_that_are_killed_for_long(fast_folder: Path) -> None:
    kill_bankers(fast_folder, target=10_000, kills=300, limit=1800)


# The check can fail


@pytest.mark.backend("memory")
def test_what_must_not_be_is_seen() -> None:
    with open_store("memory://") as store:
        manager = manager_on(store)
        manager.execute_transaction(open_bank)
        transfer = Transfer(0, 1, 10, "m")
        for kind in ("documents", "states"):
            assert problems(store, kind, {"m": transfer}) == ["m was acknowledged, and there is None"]
            manager.execute_transaction(MOVES[kind], *transfer)
            assert problems(store, kind, {"m": transfer}) == []
            assert len(problems(store, kind, {"m": transfer._replace(amount=11)})) == 1
        manager.execute_transaction(lambda tx: tx.put_document("accounts", "0", -5))
        manager.execute_transaction(lambda tx: tx.append(accounts, "0", Booked(-200), reason="m"))
        assert len(problems(store, "documents", {})) == 3
        assert len(problems(store, "states", {})) == 4
