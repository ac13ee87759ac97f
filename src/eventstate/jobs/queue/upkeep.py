"""What a worker has to do when, besides its jobs; and what it is made of."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from typing import NamedTuple

from eventstate.errors import InvalidInputError
from eventstate.jobs.queue.layout import check_name
from eventstate.jobs.queue.slots import MAX_SLOTS
from eventstate.runtime.clock import unique
from eventstate.transactions.locks import MAX_TTL_SECONDS


class Settings(NamedTuple):
    """How a worker works. Times are seconds.

    Attributes:
        name: of its own among all workers.
        queues: which queues it works for.
        slots: how many jobs it does at the same time.
        ttl: until it counts as dead once it does not renew its lock.
        grace: what its jobs have to end when it is stopped.
    """

    name: str
    queues: list[str]
    slots: int
    ttl: float
    grace: float

    @classmethod
    def of(cls, name: str | None, queues: Sequence[str], slots: int, ttl: float, grace: float) -> Settings:
        """Settings that a worker can be made with; a name is made where none is given.

        Raises:
            InvalidInputError, InvalidIdError: they are none.
        """
        if type(slots) is not int or not 1 <= slots <= MAX_SLOTS:
            raise InvalidInputError(f"slots={slots!r}: pass a whole number from 1 to {MAX_SLOTS}")
        if isinstance(queues, str) or not queues:
            raise InvalidInputError(f"queues={queues!r}: pass the names of the queues as a list")
        if not 0.1 <= ttl <= MAX_TTL_SECONDS or not 0 <= grace < float("inf"):
            raise InvalidInputError(f"ttl={ttl!r}, grace={grace!r}: pass seconds, ttl from 0.1")
        names = [check_name("queue", queue) for queue in dict.fromkeys(queues)]
        return cls(check_name("worker", name or _new_name()), names, slots, ttl, grace)


class Upkeep:
    """When a worker has to do what besides its jobs. Times are monotonic.

    Attributes:
        calls: it has to look for jobs whose time has come.
        minds: it has to look whether its own jobs are to end.
    """

    def __init__(self, every: float) -> None:
        self.every = max(every, 0.05)
        self.sweep_at = 0.0
        self.due_at = float("inf")
        self.mind_at = 0.0
        self.calls = True
        self.minds = False

    def pause(self, now: float) -> float:
        """Seconds until the next of it."""
        due = min(self.sweep_at, self.due_at)
        return max(0.001, min(due, self.mind_at if self.minds else due) - now)


def _new_name() -> str:
    host = re.sub(r"[^A-Za-z0-9_-]", "-", platform.node())[:30] or "host"
    return f"{host}-{os.getpid()}-{unique()[-6:]}"
