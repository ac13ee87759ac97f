"""`python -m benchmarks.contended`: W8 on the Firestore emulator, where the client library has transactions as well.

All arms count up one number, in threads of one process. The bare arm reads the document and writes it at the revision
it read, and again at once when somebody was faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.arms.eventstate_counter_arm import StoreCounter, TransactionCounter
from benchmarks.cases import CONTENDERS
from benchmarks.child.contending import Counted, count_up
from eventstate import open_store
from eventstate.testing.emulator import start_emulator


def client_library(project: str) -> Callable[[], bool]:
    """Count up once by the decorator of google-cloud-firestore; False where it was given up."""
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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contended", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    options = parser.parse_args()
    emulator = start_emulator()
    try:
        os.environ["FIRESTORE_EMULATOR_HOST"] = emulator.host
        table = measure(options.rounds, options.seconds)
    finally:
        emulator.stop()
    print(f"one document, {CONTENDERS} writers\n{'arm':<18}{'per second':>12}{'slowest':>10}{'given up':>10}")
    for arm, row in table.items():
        print(f"{arm:<18}{row['rate']:>12,.1f}{row['slowest_share']:>10.2f}{row['given_up']:>10}")
    if options.json is not None:
        options.json.write_text(json.dumps(table, indent=1), encoding="utf-8")


def measure(rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """The arms in turn; the client library once and for longer, since it needs that to finish any."""
    counted: dict[str, list[Counted]] = {"compare-and-swap": [], "transactions": []}
    with open_store("firestore://contended-ours") as store:
        counters = {"compare-and-swap": StoreCounter(store), "transactions": TransactionCounter(store)}
        for _ in range(rounds):
            for arm, counter in counters.items():
                counted[arm].append(count_up(counter.increment, writers=CONTENDERS, seconds=seconds))
    longer = max(15.0, 5 * seconds)
    counted["client library"] = [
        count_up(client_library("contended-theirs"), writers=CONTENDERS, seconds=longer),
    ]
    return {arm: summary(each) for arm, each in counted.items()}


def summary(each: list[Counted]) -> dict[str, float]:
    return {
        "rate": statistics.median(sum(one.done) / one.seconds for one in each),
        "slowest_share": statistics.median(one.slowest_share for one in each),
        "given_up": sum(sum(one.given_up) for one in each),
    }


if __name__ == "__main__":
    main()
