"""A process that holds one lock and waits for another, as it is told: ``deadlock_party.py URL``.

Lines in: ``hold RESOURCE CLIENT``, ``wait RESOURCE CLIENT TIME`` (a time of the monotonic clock, which all processes
share; until then it sleeps), ``release``. Each is answered with one line: ``held``, ``got SECONDS``,
``victim SECONDS CLIENT...`` and ``released``.
"""

from __future__ import annotations

import sys
import time

from eventstate import DeadlockDetectedError, LockManager, open_store
from eventstate.transactions.locks import DistributedLock


def main(url: str) -> None:
    held: list[DistributedLock] = []
    with open_store(url) as store:
        manager = LockManager(store)
        print("ready", flush=True)
        for line in sys.stdin:
            word, *rest = line.split()
            if word == "hold":
                held.append(manager.acquire_lock(*rest, ttl=60, wait=30))
                print("held", flush=True)
            elif word == "wait":
                print(waited(manager, held, *rest), flush=True)
            else:
                while held:
                    manager.release_lock(held.pop())
                print("released", flush=True)


def waited(manager: LockManager, held: list[DistributedLock], resource: str, client: str, start: str) -> str:
    """Wait for a lock from a moment on; what came of it, with all that is held given back."""
    began = float(start)
    time.sleep(max(0.0, began - time.monotonic()))
    try:
        held.append(manager.acquire_lock(resource, client, ttl=60, wait=60))
        said = f"got {time.monotonic() - began}"
    except DeadlockDetectedError as error:
        said = f"victim {time.monotonic() - began} {' '.join(error.cycle)}"
    while held:
        manager.release_lock(held.pop())
    return said


if __name__ == "__main__":
    main(sys.argv[1])
