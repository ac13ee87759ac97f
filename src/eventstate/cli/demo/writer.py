"""One writer process of the demonstration; it runs until it is killed, or until its parent is gone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

from eventstate.cli.demo.ledger import Intent, Ledger, digest_of
from eventstate.cli.demo.orders import ORDERS, Order, evolve, next_event
from eventstate.errors import CommitUnknownError, ConflictError, StateNotFoundError, StoreUnavailableError
from eventstate.machines.persister import StateMachinePersister
from eventstate.machines.states import StateSnapshot
from eventstate.stores.url import open_store

GOVERNOR = "shop"
ORDER_COUNT = 60
SNAPSHOT_EVERY = 50


def write(url: str, ledger: Ledger, name: str, random: Random, parent: int) -> None:
    """Recover, then append to random orders."""
    with open_store(url) as store:
        persister = StateMachinePersister(store, governor=GOVERNOR, machines=[ORDERS], snapshot_every=SNAPSHOT_EVERY)
        report = persister.recover_all()
        ledger.started(report.total, report.lost)
        number = 0
        while os.getppid() == parent:
            number += 1
            _append(persister, ledger, f"{name}.{number}", random)


def _append(persister: StateMachinePersister, ledger: Ledger, name: str, random: Random) -> None:
    before = _load(persister, str(random.randrange(ORDER_COUNT)))
    event = next_event(before.data, random)
    digest = digest_of(ORDERS.dump(evolve(before.data, event)))
    intent = Intent(name, before.id, before.version + 1, digest)
    ledger.intend(intent)
    try:
        persister.append(before.id, event, expected=before, correlation_id=name)
    except (ConflictError, StoreUnavailableError):
        ledger.refuse(intent)
    except CommitUnknownError:
        return  # neither: the audit finds out
    else:
        ledger.acknowledge(intent)


def _load(persister: StateMachinePersister, id: str) -> StateSnapshot[Order]:
    try:
        return persister.load(ORDERS, id)
    except StateNotFoundError:
        return StateSnapshot(id=ORDERS.state_id(id), data=Order())


if __name__ == "__main__":
    own_url, ledger_path, own_name, seed, parent_id = sys.argv[1:]
    write(own_url, Ledger(Path(ledger_path)), own_name, Random(seed), int(parent_id))
