"""The machines that a persister was given, and whose rules a stream goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from eventstate.core.fold import PLAIN, Fold
from eventstate.core.format import RESERVED, StoredEvent
from eventstate.core.ids import machine_of
from eventstate.machines.machine import Machine

if TYPE_CHECKING:
    from eventstate.machines.protecting import ProtectedFold, Protection


class Declared(dict[str, Machine[Any, Any]]):
    """The machines that were declared, by name, with what protects the streams of some."""

    protection: Protection | None = None

    def fold_of(self, state_id: str) -> Fold:
        """The rules for a stream: those of its machine, or plain ones."""
        machine = self.get(machine_of(state_id))
        if machine is None:
            return PLAIN
        if not machine.has_subjects:
            return machine
        assert self.protection is not None
        return self.protection.fold(machine, state_id)

    def event_of(self, state_id: str, event: StoredEvent, where: str) -> Any:
        """The typed event of a stored one, decrypted; its plain data where no machine declares it.

        `Erased` where its subject was erased, None where it has no data.
        """
        fold = self.fold_of(state_id)
        if fold is PLAIN or "data" not in event.body or event.type.startswith(RESERVED):
            return event.body.get("data")
        return cast("Machine[Any, Any] | ProtectedFold", fold).event_of(event, where)
