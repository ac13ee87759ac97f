"""What both faces of a queue do, written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventstate.errors import InvalidInputError
from eventstate.jobs.queue.chaining import Chaining
from eventstate.jobs.queue.claiming import Claiming
from eventstate.jobs.queue.core import QueueCore
from eventstate.jobs.queue.deciding import Deciding
from eventstate.jobs.queue.ending import Ending
from eventstate.jobs.queue.enqueuing import Enqueuing
from eventstate.jobs.queue.layout import check_name
from eventstate.jobs.queue.reaping import Reaping
from eventstate.jobs.queue.releasing import Releasing
from eventstate.jobs.queue.survey import Surveying
from eventstate.stores.base import Store
from eventstate.transactions.locking import Locking

GOVERNOR = "jobs"


class HealedQueue(NamedTuple):
    """What was done for a queue that nobody else had done.

    Attributes:
        lost: jobs whose workers had died.
        released: jobs that waited for others which had ended.
    """

    lost: list[str]
    released: int


class Queueing:
    """One queue, and all that can be done with it."""

    def __init__(self, store: Store, governor: str) -> None:
        self.core = QueueCore(store, governor)
        self.locking = Locking(store, governor)
        self.enqueuing = Enqueuing(self.core)
        self.claiming = Claiming(self.core)
        self.ending = Ending(self.core)
        self.chaining = Chaining(self.core, self.claiming, self.ending)
        self.releasing = Releasing(self.core)
        self.reaping = Reaping(self.core, self.ending, self.releasing, self.locking.locks)
        self.deciding = Deciding(self.core, self.releasing)
        self.survey = Surveying(self.core)

    async def heal(self, queues: Sequence[str]) -> HealedQueue:
        """As `JobQueue.heal`."""
        if isinstance(queues, str):
            raise InvalidInputError(f"queues={queues!r}: pass the names of the queues as a list")
        names = [check_name("queue", queue) for queue in queues]
        lost = await self.reaping.reap()
        released = await self.releasing.sweep()
        await self.releasing.call_due(names)
        return HealedQueue(lost, released)
