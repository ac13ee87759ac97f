"""What a projection is declared to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from eventstate.errors import InvalidInputError
from eventstate.log.projections import check_projection_name
from eventstate.machines.deliveries import Delivery
from eventstate.machines.machine import Machine
from eventstate.machines.subscription_settings import selection_of


class Projection:
    """Declares a projection: documents that follow from events.

    Args:
        name: 1 to 40 letters, digits, ``_``, ``-`` or ``.``.
        handler: ``handler(event, view)``: an event as subscriptions deliver it, and the documents of the projection. It
            reads and writes them through ``view`` and does nothing else: it may run again for an event whose commit
            did not come about. A coroutine function for asyncio.
        version: raise it when the code of the handler, or what it is handed, changes: then the projection is rebuilt.
        machines: only events of these machines, by name or declaration; of all unless given.
        actions: only events of these types.
        accept_pruned: begin although some streams are pruned, so that their first events are never handed over.

    Raises:
        InvalidIdError, InvalidInputError: one of them can't be used.
    """

    def __init__(
        self,
        name: str,
        handler: Callable[[Delivery, Any], Any],
        *,
        version: int = 1,
        machines: Iterable[Machine[Any, Any] | str] | None = None,
        actions: Iterable[str] | None = None,
        accept_pruned: bool = False,
    ) -> None:
        self.name = check_projection_name(name)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"projection {name!r}: version={version!r}, versions begin at 1")
        self.handler = handler
        self.version = version
        self.accept_pruned = accept_pruned
        chosen = selection_of(None, None, machines, actions)
        self.machines = chosen.machines
        self.actions = chosen.actions

    def __repr__(self) -> str:
        return f"Projection({self.name!r}, version={self.version})"
