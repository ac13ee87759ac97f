"""Commands of callers that are known by an idempotency key: what each came to, so that it comes to that once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from eventstate.core.documents import COMMAND, Key, Operation, Put, Require
from eventstate.core.ids import check_id
from eventstate.errors import IdempotencyMismatchError
from eventstate.stores.base import Store


class Commands:
    """The commands of one governor. A command's record is part of its commit, so only its absence leaves it open."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner

    async def earlier(self, key: str | None, fingerprint: bytes) -> Mapping[str, Any] | None:
        """The record of this command, if it has run before.

        Raises:
            IdempotencyMismatchError: the key was used for another command.
        """
        if key is None:
            return None
        command = Key(COMMAND, self._owner, key)
        document = (await self._store.get([command])).documents.get(command)
        if document is None:
            return None
        record: dict[str, Any] = orjson.loads(document.body)
        if record["fingerprint"] != digest_of(fingerprint):
            raise IdempotencyMismatchError(key=key)
        return record

    def put(self, key: str | None, fingerprint: bytes, outcome: Mapping[str, Any], token: str) -> Sequence[Operation]:
        """What records a command in the commit that carries it out; nothing without a key."""
        if key is None:
            return ()
        record = {
            "t": token,
            "fingerprint": digest_of(fingerprint),
            "minted": self._store.runtime.now(),
            **outcome,
        }
        return (Put(Key(COMMAND, self._owner, key), orjson.dumps(record), Require.ABSENT),)


def digest_of(fingerprint: bytes) -> str:
    return hashlib.sha256(fingerprint).hexdigest()


def checked_key(value: object) -> str | None:
    """An idempotency key that can be used, or None.

    Raises:
        InvalidIdError: not text, empty, too long or not Unicode text.
    """
    return None if value is None else check_id("idempotency key", value)
