"""A member of a shared subscription: ``member.py URL LOG STOP_FILE``; a line for each event it begins and ends with."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from eventstate import Delivery, StateMachinePersister, Subscription, open_store
from eventstate.machines import membership

TTL_SECONDS = 4.0


def main(url: str, log: Path, stop: Path) -> None:
    membership.TTL_SECONDS = TTL_SECONDS
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(delivery: Delivery, what: str) -> None:
        lock = delivery.lock.lock_token if delivery.lock is not None else ""
        line = [time.clock_gettime(time.CLOCK_MONOTONIC), what, os.getpid(), delivery.state_id, delivery.version, lock]
        os.write(descriptor, json.dumps(line).encode() + b"\n")

    def handle(delivery: Delivery) -> None:
        note(delivery, "begins")
        time.sleep(0.001)
        note(delivery, "ends")

    with open_store(url) as store:
        persister = StateMachinePersister(store, governor="g")
        with Subscription(persister, "team", shared=True, save_every=10) as subscription:
            while not stop.exists():
                subscription.run(handle, idle=1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
