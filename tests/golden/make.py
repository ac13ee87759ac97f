"""Makes a golden store: ``python -m tests.golden.make FOLDER NAME`` writes NAME.db, NAME.json and NAME.seal.

Run once for each released format, by that release; then the files are kept and never made again. What they must lead
to is written down beside them, as today's code reads it: look at it before you commit it.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from eventstate import (
    ANY,
    AppendTo,
    DirectoryArchive,
    Event,
    LockManager,
    Machine,
    RetentionManager,
    RetentionPolicy,
    SealManager,
    StateMachinePersister,
    TimeTravel,
    Transaction,
    TransactionManager,
    open_store,
)
from eventstate.stores.base import Store
from eventstate.stores.sqlite.backup import backup
from tests.golden.reading import read, sha256_of, write
from tests.golden.today import BAGS, LOGS, MOMENT, Measured

GOVERNOR = "golden"


# The order machine as it once was


@dataclass(frozen=True)
class Order:
    status: str = "new"
    cents: int = 0
    tags: frozenset[str] = frozenset()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    who: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PaidEuros:
    amount: int


@dataclass(frozen=True)
class PaidCents:
    cents: int


@dataclass(frozen=True)
class LineAdded:
    text: str


def evolve(order: Order, event: Any) -> Order:
    match event:
        case Placed(who, tags):
            return replace(order, status="placed", tags=order.tags | tags | {f"by {who}"})
        case PaidEuros(amount):
            return replace(order, status="paid", cents=order.cents + amount * 100)
        case PaidCents(cents):
            return replace(order, status="paid", cents=order.cents + cents)
        case LineAdded(text):
            return replace(order, lines=(*order.lines, text))
        case _:
            raise TypeError(event)


FIRST: Machine[Order, Any] = Machine(
    "order", Order(), evolve, events={"Placed": Placed, "Paid": PaidEuros, "LineAdded": LineAdded}, state_of="status"
)
SECOND: Machine[Order, Any] = Machine(
    "order",
    Order(),
    evolve,
    events={"Placed": Placed, "Paid": PaidCents, "LineAdded": LineAdded},
    schemas={"Paid": 2},
    upcasters={"Paid": {1: lambda data: {"cents": data["amount"] * 100}}},
    state_of="status",
)


def fill(store: Store, folder: Path) -> None:
    """Everything that this release can write."""
    first = StateMachinePersister(store, governor=GOVERNOR, machines=[FIRST, LOGS, BAGS], snapshot_every=5)
    tags = frozenset({"gift", "été", "x" * 3})
    first.append(
        FIRST, "1", Placed("ada", tags), PaidEuros(3), expected=0,
        changed_by="kim", reason="checkout", context={"ip": "::1", "n": [1, None, True]},
        correlation_id="c-1", causation_id="m-1", occurred_at=MOMENT,
    )  # fmt: skip
    first.append(FIRST, "1", *(LineAdded(f"line {n}") for n in range(7)), expected=2)
    first.append(FIRST, "2", Placed("bob"), expected=0, idempotency_key="order 2")
    first.append(FIRST, "ключ/2.5 %", Placed("eve"), expected=0)
    second = StateMachinePersister(store, governor=GOVERNOR, machines=[SECOND, LOGS, BAGS], snapshot_every=5)
    second.append(SECOND, "1", PaidCents(250), expected=9)
    second.append_together(
        AppendTo(SECOND, "2", PaidCents(99), expected=1), AppendTo(SECOND, "3", Placed("joe"), expected=0)
    )
    for n in range(12):
        moment = MOMENT + timedelta(hours=n)
        measured = Measured(
            at=moment, day=date(2024, 2, 29), price=Decimal("0.10") * n, id=UUID(int=n + 1),
            readings={"t": n / 3, "huge": 1e300}, seen={"a", f"s{n}"}, note=None if n % 2 else "ok",
        )  # fmt: skip
        second.append(LOGS, "sensor", measured, expected=n)
    second.append(BAGS, "1", Event("put", {"a": [1, 2.5, "three", None]}), Event("took", None), expected=0)
    plain(second)
    second.save_state("keyed", {"n": 1}, expected=0, idempotency_key="save it")
    second.save_state("big", {"text": "0123456789abcdef" * 4500}, expected=0)
    second.update_state("big", {"text": "0123456789abcdef" * 4500, "more": 1}, expected=1)
    reopened(second)
    transactions(store)
    forked_and_pruned(store, folder)
    LockManager(store, governor=GOVERNOR).acquire_lock("nightly", "worker-1", ttl=3600, purpose="golden")
    StateMachinePersister(store, governor="other").save_state("doc", [1, "two"], expected=0)
    SealManager(store, governor=GOVERNOR).seal()


def plain(persister: StateMachinePersister) -> None:
    """Recorded states: whole ones and deltas of every form."""
    states: list[Any] = [
        {"a": 1, "list": list(range(30)), "deep": {"x": {"y": [1, 2, 3]}}, "text": "long " * 20},
        {"a": 2, "list": list(range(30)), "deep": {"x": {"y": [1, 2, 3]}}, "text": "long " * 20},
        {"a": 2, "list": [*range(10), "in", *range(10, 30)], "deep": {"x": {"y": [1, 3]}}, "text": "long " * 20},
        {"list": list(range(5)), "deep": {"x": {}}, "text": "long " * 20, "new": {"~k": 1, "=k": 2, "-k": 3}},
        {"list": list(range(5)), "deep": {"x": {}}, "text": "long " * 20, "new": {"~k": [], "=k": 2}},
        None,
        [1, [2, [3]]],
        "text",
        12345678901234567890 % 2**63,
    ]
    for version, state in enumerate(states):
        persister.save_state("doc", state, expected=version, action=f"made {version}", changed_by="kim")
    persister.create_snapshot("doc")


def reopened(persister: StateMachinePersister) -> None:
    persister.save_state("gone", {"n": 1}, expected=0)
    persister.delete_state("gone", expected=1, reason="asked for")
    persister.save_state("back", {"n": 1}, expected=0)
    persister.delete_state("back", expected=1)
    persister.save_state("back", {"n": 2}, expected=ANY, reopen=True)
    persister.append(SECOND, "again", Placed("amy"), expected=0)
    persister.delete_state(SECOND, "again", expected=1)
    persister.append(SECOND, "again", Placed("ann"), expected=ANY, reopen=True)


def transactions(store: Store) -> None:
    manager = TransactionManager(store, governor=GOVERNOR, machines=[SECOND], guarded=["lists"])

    def move(transaction: Transaction) -> str:
        transaction.put_document("notes", "1", {"text": "hello", "n": [1, 2]})
        transaction.put_document("lists", "2", "guarded")
        transaction.save_state("account-1", {"cents": 5})
        transaction.append(SECOND, "tx", Placed("tom"))
        transaction.on_commit("mail", {"to": "tom"})
        return "done"

    manager.execute_transaction(move, idempotency_key="move")


def forked_and_pruned(store: Store, folder: Path) -> None:
    travel = TimeTravel(store, governor=GOVERNOR, machines=[SECOND, LOGS, BAGS])
    travel.fork(SECOND, "1", to="1b", at_version=4, reason="what if")
    persister = StateMachinePersister(store, governor=GOVERNOR, machines=[SECOND], snapshot_every=4)
    for n in range(20):
        persister.append(SECOND, "long", Placed("zoe") if n == 0 else LineAdded(f"{n}"), expected=n)
        persister.save_state("pruned", {"n": n, "text": "t" * 50}, expected=n)
    retention = RetentionManager(
        store, governor=GOVERNOR, machines=[SECOND, LOGS, BAGS], archive=DirectoryArchive(folder / "archive")
    )
    retention.prune(machines={"order": RetentionPolicy(keep_last=12)})


def main() -> None:
    target, name = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with open_store(f"sqlite:///{folder / 'made.db'}") as store:
            fill(store, folder)
            SealManager(store, governor=GOVERNOR).export(target / f"{name}.seal", full=True)
            backup(store, target / f"{name}.db")
    file = target / f"{name}.db"
    write(target / f"{name}.json", {"sha256": sha256_of(file), "governor": GOVERNOR, **read(file, GOVERNOR)})


if __name__ == "__main__":
    main()
