"""Commands of callers that are known by an idempotency key: what each came to, so that it comes to that once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from eventstate.core.documents import COMMAND, PIN, Check, Key, Operation, Put, Require
from eventstate.core.idempotency import DAY_MICROS, minted_at
from eventstate.core.ids import check_id
from eventstate.errors import IdempotencyMismatchError, TokenExpiredError
from eventstate.stores.base import Store


class Commands:
    """The commands of one governor. A command's record is part of its commit, so only its absence leaves it open."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self.digest: Callable[[bytes], str] = digest_of
        """Of fingerprints; with a keyring one that tells nobody else what was in them."""

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
        if record["fingerprint"] != self.digest(fingerprint):
            raise IdempotencyMismatchError(key=key)
        return record

    async def check_fresh(self, key: str | None) -> Sequence[Operation]:
        """Let a key pass whose record is there, or has never been deleted.

        What it gives belongs into the commit of the command: so that no keys were forgotten since.

        Raises:
            TokenExpiredError: it says of itself that it is older than what is kept; nobody can tell whether it ran.
        """
        minted = minted_at(key) if key is not None else None
        if key is None or minted is None or self._store.runtime.now() - minted < DAY_MICROS:
            return ()
        command, horizon = Key(COMMAND, self._owner, key), horizon_key(self._owner)
        recorded = bool((await self._store.get([command])).documents)
        # In this order: keys are refused before their records are deleted.
        document = (await self._store.get([horizon])).documents.get(horizon)
        if document is None:
            return (Check(horizon, Require.ABSENT),)
        if minted >= orjson.loads(document.body)["before"]:
            return (Check(horizon, document.revision),)
        if recorded:  # it has run: what it came to may be told, but nothing written, if the record goes meanwhile
            return (Check(horizon, Require.ABSENT),)
        raise TokenExpiredError(token=key, detail="the records of idempotency keys of its time have been deleted")

    def put(self, key: str | None, fingerprint: bytes, outcome: Mapping[str, Any], token: str) -> Sequence[Operation]:
        """What records a command in the commit that carries it out; nothing without a key."""
        if key is None:
            return ()
        record = {
            "t": token,
            "fingerprint": self.digest(fingerprint),
            "minted": self._store.runtime.now(),
            **outcome,
        }
        return (Put(Key(COMMAND, self._owner, key), orjson.dumps(record), Require.ABSENT),)


def horizon_key(owner: str) -> Key:
    """The document that says before which time keys are refused."""
    return Key(PIN, owner, "$commands")


def digest_of(fingerprint: bytes) -> str:
    return hashlib.sha256(fingerprint).hexdigest()


def checked_key(value: object) -> str | None:
    """An idempotency key that can be used, or None.

    Raises:
        InvalidIdError: not text, empty, too long or not Unicode text.
    """
    return None if value is None else check_id("idempotency key", value)
