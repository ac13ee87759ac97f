"""`python -m benchmarks.contended`: many writers on one document, by transactions and by the bare compare-and-swap.

All arms count up one number, in threads of one process. The bare arm reads the document and writes it at the revision
it read, and again at once when somebody was faster; a further arm does so with one writer, whom nobody disturbs. With
``--emulator`` the same on the Firestore emulator, also with the transactions of Google's client library.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eventstate import EventStateError, TransactionManager, open_store
from eventstate.core.documents import DOCUMENT, Batch, Committed, Key, Put, Require
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store

WRITERS = 16
ALONE = "the same, alone"
Increment = Callable[[], bool]
"""Counts up once; False where it was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One arm over one round.

    Attributes:
        rate: successful increments per second.
        slowest: the slowest writer's share of a fair one (1: all equal).
        given_up: calls that ended with an error.
    """

    arm: str
    rate: float
    slowest: float
    given_up: int


def bare(store: Store) -> Increment:
    """Read, write at the revision read, again until it works."""
    key = Key(DOCUMENT, "bench", "bare/one")

    def increment() -> bool:
        while True:
            document = drive(store.get((key,))).documents.get(key)
            value = 1 if document is None else json.loads(document.body)["data"] + 1
            token = store.runtime.unique()
            body = json.dumps({"t": token, "data": value}).encode()
            when = Require.ABSENT if document is None else document.revision
            if isinstance(drive(store.commit(Batch(token, (Put(key, body, when),)))), Committed):
                return True

    return increment


def transactions(store: Store) -> Increment:
    """The same by `execute_transaction`, with its records, outcomes and retries."""
    manager = TransactionManager(store, governor="bench")

    def operation(tx: Any) -> None:
        tx.put_document("counters", "one", (tx.get_document("counters", "one") or 0) + 1)

    def increment() -> bool:
        try:
            manager.execute_transaction(operation)
        except EventStateError:
            return False
        return True

    return increment


def client_library(project: str) -> Increment:
    """The same by the decorator of google-cloud-firestore."""
    from google.cloud import firestore

    client = firestore.Client(project=project)
    document = client.collection("counters").document("one")

    @firestore.transactional
    def operation(transaction: Any) -> None:
        value = document.get(transaction=transaction).to_dict() or {"n": 0}
        transaction.set(document, {"n": value["n"] + 1})

    def increment() -> bool:
        try:
            operation(client.transaction())
        except Exception:  # its errors are of many kinds
            return False
        return True

    return increment


def measure(arm: str, increment: Increment, seconds: float, writers: int = WRITERS) -> Measured:
    """Writers side by side for so long; a call that has begun is waited for, and counts."""
    done = [0] * writers
    given_up = [0] * writers
    start = threading.Barrier(writers + 1)
    until = 0.0

    def write(index: int) -> None:
        start.wait()
        while time.monotonic() < until:
            if increment():
                done[index] += 1
            else:
                given_up[index] += 1

    threads = [threading.Thread(target=write, args=(index,), daemon=True) for index in range(writers)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    until = began + seconds
    start.wait()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    total = sum(done)
    slowest = min(done) * writers / total if total else 0.0
    return Measured(arm=arm, rate=total / took, slowest=slowest, given_up=sum(given_up))


def run(name: str, arms: dict[str, Increment], rounds: int, seconds: float) -> dict[str, Any]:
    """The arms in turn, several rounds; medians, and their ratios to the first one round by round."""
    first = next(iter(arms))
    every = {arm: [] for arm in (*arms, ALONE)}
    for _ in range(rounds):
        for arm, increment in arms.items():
            every[arm].append(measure(arm, increment, seconds))
        every[ALONE].append(measure(ALONE, arms[first], seconds, writers=1))
    print(f"\n{name}: one document, {WRITERS} writers, median of {rounds} rounds of {seconds:g} s")
    print(f"{'arm':<18}{'per second':>12}{'x ' + first:>10}{'slowest':>10}{'given up':>10}")
    table: dict[str, Any] = {}
    for arm, measured in every.items():
        ratios = [mine.rate / theirs.rate for mine, theirs in zip(measured, every[first], strict=True)]
        row = {
            "rate": statistics.median(m.rate for m in measured),
            "ratio": statistics.median(ratios),
            "slowest": statistics.median(m.slowest for m in measured),
            "given_up": sum(m.given_up for m in measured),
            "rounds": [asdict(m) for m in measured],
        }
        print(f"{arm:<18}{row['rate']:>12,.1f}{row['ratio']:>10.2f}{row['slowest']:>10.2f}{row['given_up']:>10}")
        table[arm] = row
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contended", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--emulator", action="store_true", help="also on the Firestore emulator, which is started")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{folder}/store.db") as store:
        arms = {"compare-and-swap": bare(store), "transactions": transactions(store)}
        results["sqlite"] = run("SQLite", arms, options.rounds, options.seconds)
    if options.emulator:
        results["firestore"] = on_emulator(options.rounds, options.seconds)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


def on_emulator(rounds: int, seconds: float) -> dict[str, Any]:
    """The same on the emulator; the client library's transactions need longer to finish any."""
    import os

    from eventstate.testing.emulator import start_emulator

    emulator = start_emulator()
    try:
        os.environ["FIRESTORE_EMULATOR_HOST"] = emulator.host
        with open_store("firestore://contended-ours") as store:
            arms = {"compare-and-swap": bare(store), "transactions": transactions(store)}
            table = run("Firestore emulator", arms, rounds, seconds)
        peer = measure("client library", client_library("contended-theirs"), max(15.0, 5 * seconds))
    finally:
        emulator.stop()
    ratio = table["transactions"]["rate"] / peer.rate if peer.rate else float("inf")
    print(f"{'client library':<18}{peer.rate:>12,.2f}{'':>10}{peer.slowest:>10.2f}{peer.given_up:>10}")
    print(f"transactions: {ratio:,.0f} times the client library's @transactional")
    return {**table, "client library": asdict(peer), "ratio to client library": ratio}


if __name__ == "__main__":
    main()
