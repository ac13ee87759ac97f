"""A process that writes to, or seals, the streams of one store until it is killed.

python -m tests.crash.seal_worker write|seal FILE NAME
"""

from __future__ import annotations

import sys
from itertools import count

from eventstate import ANY, SealManager, StateMachinePersister, open_store

STREAMS = 60


def main() -> None:
    work, file, name = sys.argv[1:]
    with open_store(f"sqlite:///{file}?durability=off") as store:
        if work == "write":
            persister = StateMachinePersister(store, snapshot_every=10)
            for n in count():
                persister.save_state(f"doc-{name}-{n % STREAMS}", {"n": n}, expected=ANY)
        seals = SealManager(store)
        while True:
            print(seals.seal(keep=3).number, flush=True)


if __name__ == "__main__":
    main()
