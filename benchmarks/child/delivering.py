"""Processes of ``python -m benchmarks.delivery``: ``delivering.py WHAT ARGUMENTS``; each prints one JSON line."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.payloads import CHANGED_BY, REASON, state
from eventstate import ANY, Event, Machine, StateMachinePersister, Subscription, open_store

STREAMS = 50
MACHINE: Machine[Any, Any] = Machine("m", {}, lambda _state, event: event.data)


def idle(url: str, subscribers: int, seconds: float) -> None:
    """The share of a core that so many subscribers take while nothing happens."""
    with open_store(url) as store:
        persister = StateMachinePersister(store)
        subscriptions = [Subscription(persister, start="now") for _ in range(subscribers)]
        threads = [threading.Thread(target=lambda s=s: list(s), daemon=True) for s in subscriptions]
        for thread in threads:
            thread.start()
        time.sleep(2)
        before, began = time.process_time(), time.monotonic()
        time.sleep(seconds)
        share = (time.process_time() - before) / (time.monotonic() - began)
        pollers = sum("watch" in thread.name for thread in threading.enumerate())
        for subscription in subscriptions:
            subscription.stop()
        for thread in threads:
            thread.join(10)
    print(json.dumps({"share": share, "pollers": pollers}), flush=True)


def listen(url: str, count: int) -> None:
    """When each of so many events arrives, by the clock that all processes of this machine share."""
    with open_store(url) as store, Subscription(StateMachinePersister(store), start="now") as subscription:
        items = subscription.marked(idle=60)
        next(items)
        print(json.dumps({"ready": True}), flush=True)
        arrivals: dict[str, float] = {}
        for item in items:
            arrived = time.clock_gettime(time.CLOCK_MONOTONIC)
            arrivals[str(item.data["n"])] = arrived  # type: ignore[union-attr]
            if len(arrivals) == count:
                break
    print(json.dumps(arrivals), flush=True)


def seed(url: str, events: int) -> None:
    """A backlog, an event a commit."""
    with open_store(url) as store:
        persister = StateMachinePersister(store, machines=[MACHINE], snapshot_every=0)
        for number in range(events):
            event = Event("changed", data=state("small", number))
            persister.append(MACHINE, str(number % STREAMS), event, expected=ANY, changed_by=CHANGED_BY, reason=REASON)
    print(json.dumps({"seeded": Path(url.removeprefix("sqlite:///").split("?")[0]).stat().st_size}), flush=True)


if __name__ == "__main__":
    what, url, *rest = sys.argv[1:]
    if what == "idle":
        idle(url, int(rest[0]), float(rest[1]))
    elif what == "listen":
        listen(url, int(rest[0]))
    else:
        seed(url, int(rest[0]))
