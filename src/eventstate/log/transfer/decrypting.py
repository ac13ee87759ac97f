"""Exports that can be read: encrypted values in the clear, for people and programs that have no keyring.

What comes out is no original any more. Digests are over the encrypted form, so they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Key
from eventstate.core.format import RESERVED, load_members
from eventstate.core.ids import check_id
from eventstate.core.privacy import Place, envelope_of, is_encrypted, named_keys, require_cipher
from eventstate.errors import ConfigurationError, DecryptionError
from eventstate.log.keyring import KeyringCore, Tombstone
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store

ERASED: Final = "erased"
"""What stands in the place of a value whose subject was erased: when, and why."""


class Keys(Protocol):
    """A `Keyring` or an `AsyncKeyring`."""

    @property
    def core(self) -> KeyringCore: ...


class Decryption:
    """Opens what is encrypted in the streams of one governor."""

    def __init__(self, keys: Keys, store: Store, governor: str) -> None:
        """Take a keyring.

        Raises:
            ConfigurationError: it is of another governor, or of the other kind of face.
        """
        self._keyring = keys.core
        self._owner = governor
        if self._keyring.governor != governor:
            raise ConfigurationError(f"the keyring is of governor {self._keyring.governor!r}, not of {governor!r}")
        if isinstance(self._keyring.store.runtime, BlockingRuntime) != isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("Keyring goes with StreamTransfer, AsyncKeyring with AsyncStreamTransfer")
        require_cipher()

    async def head(self, id: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """The members of a head, its state in the clear."""
        await self._keyring.prepare(named_keys(orjson.dumps(members)))
        return self._with_state(Key(HEAD, self._owner, check_id("state id", id)), members)

    async def snapshot(self, id: str, version: int, body: bytes) -> bytes:
        """The members of a snapshot, its state in the clear."""
        await self._keyring.prepare(named_keys(body))
        key = Key(SNAPSHOT, self._owner, id, version)
        return orjson.dumps(self._with_state(key, _unsealed(load_members(body, key))))

    async def entry(self, id: str, version: int, body: bytes) -> bytes:
        """The members of an entry that ends at a version, its events in the clear."""
        await self._keyring.prepare(named_keys(body))
        key = Key(ENTRY, self._owner, id, version)
        members = _unsealed(load_members(body, key))
        first = version - len(members["e"]) + 1
        members["e"] = [self._event(key, number, event) for number, event in enumerate(members["e"], first)]
        return orjson.dumps(members)

    def _event(self, key: Key, version: int, event: Mapping[str, Any]) -> dict[str, Any]:
        name = "state" if event["type"].startswith(RESERVED) else "data"
        value = event.get(name)
        if not is_encrypted(value):
            return dict(event)
        place = Place("event", self._owner, key.id, version, event["type"], event.get("v", 1))
        rest = {member: content for member, content in event.items() if member != name}
        return {**rest, **self._opened(value, place, key)}

    def _with_state(self, key: Key, members: Mapping[str, Any]) -> dict[str, Any]:
        value = members.get("state")
        if not is_encrypted(value):
            return dict(members)
        place = Place("state", self._owner, key.id, members["n"])
        rest = {member: content for member, content in members.items() if member != "state"}
        opened = self._opened(value, place, key)
        return {**rest, **opened} if ERASED in opened else {**rest, "state": opened["value"]}

    def _opened(self, value: Any, place: Place, key: Key) -> dict[str, Any]:
        where = str(key)
        envelope = envelope_of(value, where)
        if envelope.version != place.version:
            raise DecryptionError(where=where, problem=f"it was made for version {envelope.version}")
        found = self._keyring.opened(envelope, place, where)
        if isinstance(found, Tombstone):
            return {ERASED: {"at": found.at, "reason": found.reason}}
        return found if place.what == "event" else {"value": found}


def _unsealed(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name != "h"}
