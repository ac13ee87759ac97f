"""A process that reports the events of an orchestration until it is killed.

python -m tests.jobs.orchestration_reporter URL RUN SEED   prints the number of each event once it is acknowledged
"""

from __future__ import annotations

import sys
from itertools import count
from random import Random

from eventstate import OrchestrationEvent, OrchestrationLog, open_store
from tests.jobs.orchestration import UNIT_TYPES, event, started

UNITS = ("a", "b", "c", "d")


def reported(seed: int, number: int) -> OrchestrationEvent:
    """The event of this number: of a seed always the same."""
    random, id = Random(f"{seed}/{number}"), f"{seed}-{number}"
    if number % 50 == 0:
        return started(*UNITS, id=id, after=number)
    if random.random() < 0.1:
        return event(random.choice(["unit.odd", "unit.queued"]), "stranger", id=id, after=number)
    return event(random.choice(UNIT_TYPES), random.choice(UNITS), id=id, after=number, error="exit 1")


def main(url: str, run: str, seed: int) -> None:
    with open_store(url) as store:
        log = OrchestrationLog(store, run)
        recorded = sum((one.id or "").startswith(f"{seed}-") for one in log.events())
        for number in count(max(0, recorded - 5)):  # the last ones again, as a reporter does that is not sure
            log.handle_event(reported(seed, number))
            print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
