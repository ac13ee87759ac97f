"""The library eventsourcing: its notification log read and decoded, as its followers do: ``FILE EVENTS``."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from uuid import UUID, uuid5

from eventsourcing.application import Application

from benchmarks.arms.eventsourcing_arm import EventsourcingSession, Order
from benchmarks.payloads import CHANGED_BY, REASON, state

MACHINES = 50
SECTION = 1000
NAMESPACE = UUID(int=0)


def main(path: Path, events: int) -> None:
    Application.log_section_size = SECTION
    session = EventsourcingSession(path, snapshots=False)
    application = session.application
    for machine in range(MACHINES):
        order = Order(id=uuid5(NAMESPACE, str(machine)))
        for n in range(1, events // MACHINES):
            order.change(data=state("small", n), changed_by=CHANGED_BY, reason=REASON)
        application.save(order)
    speeds = []
    for _ in range(3):
        began, count, start = time.perf_counter(), 0, 1
        while notifications := application.notification_log.select(start=start, limit=SECTION):
            for notification in notifications:
                application.mapper.to_domain_event(notification)
                count += 1
            start = notifications[-1].id + 1
        speeds.append(count / (time.perf_counter() - began))
    session.close()
    print(json.dumps({"speed": max(speeds)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
