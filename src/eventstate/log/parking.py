"""Events that a subscription has set aside, since its handler failed at them again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from eventstate.core.documents import CURSOR, Batch, Committed, Delete, Document, Key, Operation, Put, Require
from eventstate.log.following import Stream
from eventstate.log.positions import Definition, Extra, members_of, owners_of
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

PROBLEM_CHARACTERS: Final = 1000


class Parked(NamedTuple):
    """An event that was set aside.

    Attributes:
        governor, state_id, version: of the event.
        attempts: how often its handler failed.
        problem: the last failure.
    """

    governor: str
    state_id: str
    version: int
    attempts: int
    problem: str


def parks(definition: Definition, stream: Stream, version: int, attempts: int, problem: str) -> Extra:
    """What writes a parked event."""
    key = definition.parked_key(stream, version)

    def put(token: str) -> Sequence[Operation]:
        text = problem[:PROBLEM_CHARACTERS].encode(errors="backslashreplace").decode()  # file names hold surrogates
        members = {"t": token, "attempts": attempts, "problem": text}
        return [Put(key, orjson.dumps(members), Require.ANY)]

    return put


def parked_of(document: Document, definition: Definition) -> Parked:
    """A parked event read back."""
    members = members_of(document)
    state_id, _, version = document.key.id.removeprefix(definition.parked_prefix()).rpartition(":")
    return Parked(document.key.owner, state_id, int(version), members["attempts"], members["problem"])


class ParkingLot:
    """The parked events of one subscription, by governor, state id and version."""

    def __init__(self, store: Store, definition: Definition) -> None:
        self._store = store
        self._definition = definition
        self._committer = Committer(store, definition.home)

    async def all(self) -> list[tuple[Parked, Document]]:
        """Every parked event, with its document."""
        found: list[tuple[Parked, Document]] = []
        for owner in await owners_of(self._store, self._definition.selection):
            after: Key | None = None
            while True:
                page = await self._store.scan(CURSOR, owner, prefix=self._definition.parked_prefix(), after=after)
                found += [(parked_of(document, self._definition), document) for document in page.documents]
                after = page.next
                if after is None:
                    break
        return found

    async def remove(self, document: Document) -> bool:
        """Forget a parked event; False if somebody else did."""
        batch = Batch(self._store.runtime.unique(), [Delete(document.key, document.revision)])
        return isinstance(await self._committer.commit_guarded(batch), Committed)

    async def failed_again(self, parked: Parked, document: Document, problem: str) -> None:
        """Note one more failure."""
        stream = parked.governor, parked.state_id
        extra = parks(self._definition, stream, parked.version, parked.attempts + 1, problem)
        token = self._store.runtime.unique()
        puts = [put._replace(when=document.revision) for put in extra(token) if isinstance(put, Put)]
        await self._committer.commit_guarded(Batch(token, puts))
