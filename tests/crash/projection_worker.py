"""Processes that write to a store or project it, and a nursery of projectors that kill themselves.

python -m tests.crash.projection_worker nursery FILE LIVES SEED   projectors, one after the other, each killed at work
python -m tests.crash.projection_worker write FILE NAME           a writer, until its standard input ends
python -m tests.crash.projection_worker run FILE                  a projector, until its standard input ends
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

from eventstate import ANY, Event, Projection, ProjectionManager, StateMachinePersister, Store, open_store
from eventstate.core.documents import Batch, CommitResult
from eventstate.machines.deliveries import Delivery

STREAMS = 40
PER_COMMIT = 3
PAUSE = 0.01
"""Between two commits of a writer, so that the log does not outgrow the machine."""


def url_of(file: str) -> str:
    # Nothing here is about power loss, and a kill loses nothing that was committed.
    return f"sqlite:///{file}?durability=off"


def count(event: Delivery, view: Any) -> None:
    """All events, and for each stream how many and the sum of their numbers: a doubled or lost one shows."""
    view.put("all", (view.get("all") or 0) + 1)
    seen = view.get(event.state_id) or {"events": 0, "sum": 0, "last": 0}
    assert event.version == seen["last"] + 1, f"{event.state_id}: version {event.version} after {seen['last']}"
    number = event.data["n"]
    view.put(event.state_id, {"events": seen["events"] + 1, "sum": seen["sum"] + number, "last": event.version})


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class MortalStore:
    """A store whose process is killed right before or right after one of its commits."""

    def __init__(self, store: Store, before: int | None, after: int | None) -> None:
        self._store = store
        self._before = before
        self._after = after
        self._commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Batch) -> CommitResult:
        self._commits += 1
        if self._commits == self._before:
            die()
        result = await self._store.commit(batch)
        if self._commits == self._after:
            die()
        return result


def live_and_die(file: str, random: Random) -> None:
    """Project until the kill: within a handler, right before a commit, or right after one that was not answered yet."""
    kind = random.choice(("handler", "before", "after"))
    moment = random.randint(1, 60) if kind == "handler" else random.randint(1, 3)
    handled = 0

    def counted(event: Delivery, view: Any) -> None:
        nonlocal handled
        count(event, view)
        handled += 1
        if kind == "handler" and handled == moment:
            die()

    with open_store(url_of(file)) as store:
        mortal: Any = MortalStore(store, moment if kind == "before" else None, moment if kind == "after" else None)
        ProjectionManager(mortal).run(Projection("counts", counted))


def nursery(file: str, lives: int, seed: int) -> None:
    """Lives in forked children: what they import is loaded once."""
    random = Random(seed)
    killed = 0
    for _ in range(lives):
        own = Random(random.random())
        child = os.fork()
        if child == 0:
            try:
                live_and_die(file, own)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    print(killed, flush=True)


def is_over() -> bool:
    """Whether standard input has ended: whoever started this wants it to stop."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def write(file: str, name: str, stop: Callable[[], bool]) -> None:
    number = 0
    with open_store(url_of(file)) as store:
        persister = StateMachinePersister(store)
        print("writing", flush=True)
        while not stop():
            events = [Event("counted", state={"n": number + offset}) for offset in range(PER_COMMIT)]
            number += PER_COMMIT
            time.sleep(PAUSE)
            persister.append(f"doc-{name}{number % STREAMS}", *events, expected=ANY)


def main() -> None:
    work, file, *rest = sys.argv[1:]
    if work == "nursery":
        nursery(file, int(rest[0]), int(rest[1]))
    elif work == "write":
        write(file, rest[0], is_over)
    else:
        with open_store(url_of(file)) as store:
            print("running", flush=True)
            ProjectionManager(store).run(Projection("counts", count), stop=is_over)


if __name__ == "__main__":
    main()
