"""Large seeds of eventstate: one entry per event as appends write them, but hundreds in a commit.

The planner of the library makes the documents, so they are those of an append: sealed, chained, with snapshots. Only
the heads that a later append would have replaced are never written. The last machine is read back in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import orjson

from benchmarks.arms.eventstate_arm import GOVERNOR, EventstateSession, open_sync, orders
from benchmarks.arms.eventstate_arm import PLAIN as PLAIN_IDS
from benchmarks.arms.session import Shape, machine_name
from benchmarks.payloads import CHANGED_BY, REASON, state
from eventstate import Store, open_store
from eventstate.core.delta import diff
from eventstate.core.documents import Batch, Committed, Operation
from eventstate.core.fold import PLAIN
from eventstate.core.format import Image, NewEvent, unborn
from eventstate.core.planner import Append, plan_appends
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.runtime.blocking import drive

__all__ = ["open_sync", "seed"]

OPERATIONS: Final = 480
"""In one commit; an append makes up to four."""

METADATA: Final = {"by": CHANGED_BY, "why": REASON}


def seed(path: Path, shape: Shape, *, variant: str) -> None:
    """Machine after machine for each event, as live traffic would leave it."""
    with open_store(f"sqlite:///{path.absolute()}?durability=off") as store:
        operations: list[Operation] = []
        for planned in _plan(store, shape, plain=variant == "states"):
            operations.extend(planned)
            if len(operations) >= OPERATIONS:
                _commit(store, operations)
                operations = []
        if operations:
            _commit(store, operations)
    _check(path, shape, plain=variant == "states")


def _plan(store: Store, shape: Shape, *, plain: bool) -> Iterator[Sequence[Operation]]:
    policy = SnapshotPolicy(every=shape.snapshot_every)
    tips = [
        unborn(GOVERNOR, f"{PLAIN_IDS if plain else orders.name}-{machine_name(index)}")
        for index in range(shape.machines)
    ]
    for n in range(1, shape.events + 1):
        token, now = store.runtime.unique(), store.runtime.now()
        event, image = _recorded(shape, n) if plain else _typed(shape, n)
        for index, tip in enumerate(tips):
            plan = plan_appends([Append(tip, (event,), image, METADATA, policy)], token=token, now=now, node=store.node)
            tips[index] = plan.tips[0]
            yield plan.batch.operations if n == shape.events else plan.batch.operations[:-1]  # the head comes last


def _typed(shape: Shape, n: int) -> tuple[NewEvent, Image]:
    text = orjson.dumps(state(shape.size, n))
    return NewEvent("Changed", data=b'{"data":%b}' % text), Image(text, 1, 1)


def _recorded(shape: Shape, n: int) -> tuple[NewEvent, Image]:
    """The first state whole, each later one as the difference, where that is shorter."""
    value = state(shape.size, n)
    text = orjson.dumps(value)
    delta = orjson.dumps(diff(state(shape.size, n - 1), value)) if n > 1 else text
    event = NewEvent("saved", delta=delta) if len(delta) < len(text) else NewEvent("saved", state=text)
    return event, Image(text, PLAIN.version, PLAIN.schema)


def _commit(store: Store, operations: list[Operation]) -> None:
    answer = drive(store.commit(Batch(store.runtime.unique(), tuple(operations))))
    if not isinstance(answer, Committed):
        raise RuntimeError(f"the seed was not written: {answer}")


def _check(path: Path, shape: Shape, *, plain: bool) -> None:
    session = EventstateSession(path, plain=plain, shape=None)
    last = machine_name(shape.machines - 1)
    if not session.current(last) == session.rebuild(last) == shape.events:
        raise RuntimeError("the seed is not what appends would have written")
    session.close()
