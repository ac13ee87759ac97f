"""A process that subscribes and writes down what it is told: ``reader.py URL NAME CHOICE LOG STOP_FILE``.

It acknowledges now and then. Killed at any time, the next one of its name goes on. It ends by itself once the stop file
is there and it has caught up.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from eventstate import CaughtUp, Place, StateMachinePersister, Subscription, open_store
from eventstate.log.following import Selection, Stream
from eventstate.log.following.swept import current_versions
from eventstate.log.positions import Definition, Positions
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.deliveries import Got, Marked, Saved, plain_of

CHOICES: dict[str, dict[str, Any]] = {
    "own": {},
    "everything": {"all_governors": True},
    "one-machine": {"machines": ["m0"]},
    "one-action": {"actions": ["seen"]},
    "one-state": {"state_id": "m1-3"},
}
ACK_EVERY = 37
HOME = "g"


def selection_of(choice: str) -> Selection:
    options = CHOICES[choice]
    machines, actions = options.get("machines"), options.get("actions")
    return Selection(
        None if options.get("all_governors") else HOME,
        options.get("state_id"),
        frozenset(machines) if machines else None,
        frozenset(actions) if actions else None,
    )


def began(store: Store, name: str, selection: Selection) -> Place:
    """Where a session of this name will begin."""
    order = "store" if selection.state_id is None and store.capabilities.feed_order == "store" else "stream"
    positions = Positions(store, Definition(name, HOME, selection, order))
    drive(positions.load())
    if positions.is_new:
        return Place(0) if order == "store" else Place()
    return positions.place


def main(url: str, name: str, choice: str, log: Path, stop: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(value: Any) -> None:
        os.write(descriptor, orjson.dumps(plain_of(value)) + b"\n")

    selection = selection_of(choice)
    with open_store(url) as store:
        persister = StateMachinePersister(store, governor=HOME)
        note(began(store, name, selection))
        floor = drive(current_versions(store, selection))
        with Subscription(persister, name, **CHOICES[choice]) as subscription:
            listen(subscription, note, floor, stop)


def listen(subscription: Subscription, note: Callable[[Any], None], floor: dict[Stream, int], stop: Path) -> None:
    is_ordered = subscription.order == "store"
    reached: dict[Stream, int] = {}
    unsaved = 0
    while True:
        is_last_round = stop.exists()
        for item in subscription.marked(idle=0.5, until_caught_up=is_last_round):
            if isinstance(item, CaughtUp):
                note(Marked(floor))
                continue
            stream = item.governor, item.state_id
            note(Got(stream, item.version, item.position, item.action))
            if item.is_last:
                reached[stream] = item.version
                unsaved += 1
                if unsaved >= ACK_EVERY:
                    subscription.ack(item if is_ordered else None)
                    note(Saved(Place(item.position) if is_ordered else Place(None, reached)))
                    unsaved = 0
        if is_last_round:
            subscription.ack()
            return
        time.sleep(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
