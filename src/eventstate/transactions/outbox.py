"""Effects that follow a commit: written with it, delivered afterwards, at least once each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.documents import OUTBOX, Batch, Committed, Delete, Document, Key, Put, Require
from eventstate.core.leases import Fence
from eventstate.errors import CorruptionError
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

log = logging.getLogger("eventstate.outbox")

PAGE: Final = 50


class Effect(NamedTuple):
    """Something to be done once a transaction has committed.

    Attributes:
        name: which handler does it.
        payload: plain data for the handler.
        key: the same each time this effect is delivered, so that its receiver can tell a repetition.
        attempts: how often it was tried before.
    """

    name: str
    payload: Any
    key: str
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What one run of a dispatcher did. Parked effects failed too often; they stay, and are not tried again."""

    delivered: int = 0
    failed: int = 0
    parked: int = 0


def outbox_put(governor: str, token: str, index: int, name: str, payload: bytes, key: str) -> Put:
    """The operation that puts an effect into the outbox; ``payload`` is JSON text."""
    members = {"t": token, "name": name, "key": key, "payload": orjson.Fragment(payload), "attempts": 0}
    return Put(Key(OUTBOX, governor, f"{token}:{index:03d}"), orjson.dumps(members), Require.ABSENT)


def decode_effect(document: Document) -> tuple[Effect, bool]:
    """An effect read back, and whether it is parked.

    Raises:
        CorruptionError: it is none.
    """
    try:
        members = orjson.loads(document.body)
        effect = Effect(members["name"], members["payload"], members["key"], members["attempts"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(document.key), problem=f"no effect ({error})") from None
    return effect, members.get("parked", False)


class Outbox:
    """The effects of one governor that are still to be delivered, oldest first."""

    def __init__(self, store: Store, governor: str, committer: Committer) -> None:
        self._store = store
        self._governor = governor
        self._committer = committer

    async def page(self, after: Key | None) -> tuple[list[Document], Key | None]:
        page = await self._store.scan(OUTBOX, self._governor, after=after, limit=PAGE)
        return list(page.documents), page.next

    async def done(self, document: Document, fence: Fence) -> bool:
        """Take a delivered effect out; False if the dispatcher has lost its turn."""
        batch = Batch(self._store.runtime.unique(), (Delete(document.key, Require.ANY), fence.check))
        return isinstance(await self._committer.commit_guarded(batch), Committed)

    async def failed(self, document: Document, effect: Effect, problem: str, fence: Fence, *, parked: bool) -> bool:
        """Note a delivery that failed; False if the dispatcher has lost its turn."""
        token = self._store.runtime.unique()
        members: dict[str, Any] = {
            "t": token,
            "name": effect.name,
            "key": effect.key,
            "payload": effect.payload,
            "attempts": effect.attempts + 1,
            "problem": problem[:1000],
        }
        if parked:
            members["parked"] = True
        put = Put(document.key, orjson.dumps(members), document.revision)
        return isinstance(await self._committer.commit_guarded(Batch(token, (put, fence.check))), Committed)

    async def waiting(self) -> Mapping[str, int]:
        """How many effects wait, and how many are parked."""
        counts = {"waiting": 0, "parked": 0}
        after: Key | None = None
        while True:
            documents, after = await self.page(after)
            for document in documents:
                counts["parked" if decode_effect(document)[1] else "waiting"] += 1
            if after is None:
                return counts
