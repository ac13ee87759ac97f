"""One stream's part in an append to several."""

from __future__ import annotations

from typing import Any

from eventstate.core.expected import AnyVersion
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot


class AppendTo:
    """Events for one stream of an `append_together`.

    ``AppendTo(orders, "42", Paid(100), expected=3)`` or ``AppendTo("order-42", Paid(100), expected=3)``.
    """

    __slots__ = ("events", "expected", "reopen", "target")

    def __init__(
        self,
        target: Machine[Any, Any] | str,
        *events: Any,
        expected: int | StateSnapshot[Any] | AnyVersion,
        reopen: bool = False,
    ) -> None:
        self.target = target
        self.events = events
        self.expected = expected
        self.reopen = reopen
