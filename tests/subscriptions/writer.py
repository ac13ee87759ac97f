"""A process that appends until a file appears, slow at times and killed at any: ``writer.py URL SEED STOP_FILE``."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

from eventstate import ANY, Event, StateMachinePersister, open_store
from eventstate.core.documents import Batch
from eventstate.errors import ConflictError, OutcomeError, StoreUnavailableError
from eventstate.testing.faults import FaultyStore

GOVERNORS = ("g", "h")
STREAMS = 12
SLOW_SHARE = 0.02
SLOW_SECONDS = 0.05


def main(url: str, seed: int, stop: Path) -> None:
    random = Random(seed)
    with open_store(url) as store:
        slow = FaultyStore(store)

        async def dawdle(_batch: Batch) -> None:
            if random.random() < SLOW_SHARE:
                await store.runtime.sleep(random.random() * SLOW_SECONDS)

        slow.before_commit = dawdle
        persisters = [StateMachinePersister(slow, governor=governor) for governor in GOVERNORS]
        while not stop.exists():
            # The second governor has less to say.
            persister = persisters[random.random() < 0.1]
            events = [
                Event(random.choice(("seen", "heard")), state={"n": random.random()})
                for _ in range(random.choice((1, 1, 2, 3, 5)))
            ]
            try:
                persister.append(f"m{random.randrange(2)}-{random.randrange(STREAMS)}", *events, expected=ANY)
            except (ConflictError, StoreUnavailableError, OutcomeError):
                continue


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
