"""The pins of a governor: made, listed, taken away."""

from __future__ import annotations

from typing import Any, NamedTuple

from eventstate.core.documents import PIN, Batch, Committed, Key
from eventstate.core.format import decode_head
from eventstate.core.ids import check_id, check_machine_name
from eventstate.core.pins import (
    HOLD,
    Pin,
    Pins,
    decode_pin,
    pin_key,
    pin_operations,
    register_key,
    unpin_operations,
)
from eventstate.errors import InvalidInputError, StateNotFoundError, VersionNotFoundError
from eventstate.log.reading import StreamReader
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer


class SeenPins(NamedTuple):
    """All pins, and the revision that the register had before they were read (None: there is none)."""

    pins: Pins
    register: str | None


class PinKeeper:
    """Keeps the pins of one governor."""

    def __init__(self, store: Store, owner: str, reader: StreamReader, committer: Committer) -> None:
        self._store = store
        self._owner = owner
        self._reader = reader
        self._committer = committer

    async def seen(self) -> SeenPins:
        """All pins as they are. A commit that checks the register is refused once there is another one."""
        key = register_key(self._owner)
        register = (await self._store.get([key])).documents.get(key)
        return SeenPins(Pins(await self.all()), register.revision if register else None)

    async def all(self) -> list[Pin]:
        """All pins, by kind and name."""
        found: list[Pin] = []
        after: Key | None = None
        while True:
            page = await self._store.scan(PIN, self._owner, after=after)
            found.extend(pin for document in page.documents if (pin := decode_pin(document)) is not None)
            after = page.next
            if after is None:
                return found

    async def get(self, name: str, kind: str = HOLD) -> Pin | None:
        """One pin, or None."""
        key = pin_key(self._owner, kind, name)
        document = (await self._store.get([key])).documents.get(key)
        return None if document is None else decode_pin(document)

    async def hold(
        self,
        name: str,
        *,
        state_id: str | None,
        machine: str | None,
        from_version: int | None,
        reason: str | None,
        by: str | None,
    ) -> Pin:
        """Make a pin that people made up; the same one again changes nothing.

        Raises:
            InvalidInputError: another pin has this name; or the arguments do not fit together.
            StateNotFoundError, VersionNotFoundError: what is to stay is not there (any more).
        """
        members = _members(state_id, machine, from_version)
        if state_id is not None:
            await self._check_there(state_id, from_version)
        runtime = self._store.runtime
        token = runtime.unique()
        texts = {key: text for key, text in (("why", reason), ("by", by)) if text is not None}
        key = pin_key(self._owner, HOLD, name)
        operations = pin_operations(self._owner, key.id, {**members, **texts, "at": runtime.now()}, token)
        if not isinstance(await self._committer.commit_guarded(Batch(token, operations)), Committed):
            return await self._existing(name, members)
        if state_id is not None:
            try:  # a prune may have been faster than the pin; none that comes later can be
                await self._check_there(state_id, from_version)
            except VersionNotFoundError:
                await self.release(name)
                raise
        made = await self.get(name)
        if made is None:
            raise InvalidInputError(f"the pin {name!r} was taken away at once, by somebody else")
        return made

    async def _existing(self, name: str, members: dict[str, Any]) -> Pin:
        pin = await self.get(name)
        asked = (members.get("stream"), members.get("machine"), members.get("from", 1))
        if pin is not None and (pin.state_id, pin.machine, pin.from_version) == asked:
            return pin
        raise InvalidInputError(f"another pin is named {name!r}; take it away first, or choose another name")

    async def release(self, name: str) -> bool:
        """Take a pin away that people made; whether there was one."""
        key = pin_key(self._owner, HOLD, name)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            return False
        # Only the pin that was seen: another one may have been made under its name meanwhile.
        operations = unpin_operations(self._owner, key.id, document.revision)
        await self._committer.commit_guarded(Batch(self._store.runtime.unique(), operations))
        return True

    async def _check_there(self, id: str, from_version: int | None) -> None:
        document = await self._reader.head_document(id)
        if document is None:
            raise StateNotFoundError(governor=self._owner, state_id=id)
        tip = decode_head(document)[0].tip
        if tip.version == 0:
            raise StateNotFoundError(governor=self._owner, state_id=id)
        base = tip.base.version if tip.base else 0
        if from_version is not None and not base < from_version <= tip.version:
            asked = f"event of version {from_version}"
            raise VersionNotFoundError(state_id=id, asked=asked, first=base + 1, last=tip.version)


def _members(state_id: str | None, machine: str | None, from_version: int | None) -> dict[str, Any]:
    members: dict[str, Any] = {"kind": HOLD}
    if state_id is not None and machine is not None:
        raise InvalidInputError("pass a state or a machine to be held, not both")
    if from_version is not None and state_id is None:
        raise InvalidInputError("from_version goes with one state")
    if from_version is not None and (isinstance(from_version, bool) or from_version < 1):
        raise InvalidInputError(f"from_version={from_version!r}: versions begin at 1")
    if state_id is not None:
        members["stream"] = check_id("state id", state_id)
    if machine is not None:
        members["machine"] = check_machine_name(machine)
    if from_version is not None:
        members["from"] = from_version
    return members
