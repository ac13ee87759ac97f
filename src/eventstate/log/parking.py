"""Events that a subscription has set aside, since its handler failed at them again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

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
        held: whether it waits for an earlier one of its stream, which must be handled first.
    """

    governor: str
    state_id: str
    version: int
    attempts: int
    problem: str
    held: bool = False


def stream_of(parked: Parked) -> Stream:
    """The stream that a parked event belongs to."""
    return parked.governor, parked.state_id


def parks(definition: Definition, parked: Parked) -> Extra:
    """What writes a parked event."""
    key = definition.parked_key(stream_of(parked), parked.version)

    def put(token: str) -> Sequence[Operation]:
        text = parked.problem[:PROBLEM_CHARACTERS].encode(errors="backslashreplace").decode()  # as of file names
        members: dict[str, Any] = {"t": token, "attempts": parked.attempts, "problem": text}
        if parked.held:
            members["held"] = True
        return [Put(key, orjson.dumps(members), Require.ANY)]

    return put


def parked_of(document: Document, definition: Definition) -> Parked:
    """A parked event read back."""
    members = members_of(document)
    state_id, _, version = document.key.id.removeprefix(definition.parked_prefix()).rpartition(":")
    attempts, problem, held = members["attempts"], members["problem"], members.get("held", False)
    return Parked(document.key.owner, state_id, int(version), attempts, problem, held)


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

    async def first_of(self, stream: Stream) -> int | None:
        """The version of the first parked event of a stream; None where there is none."""
        owner, id = stream
        prefix = f"{self._definition.parked_prefix()}{id}:"
        after: Key | None = None
        while True:  # the ids of other streams can begin with this one and a colon
            page = await self._store.scan(CURSOR, owner, prefix=prefix, after=after, limit=10)
            for document in page.documents:
                parked = parked_of(document, self._definition)
                if parked.state_id == id:
                    return parked.version
            after = page.next
            if after is None:
                return None

    async def remove(self, document: Document) -> bool:
        """Forget a parked event; False if somebody else did."""
        batch = Batch(self._store.runtime.unique(), [Delete(document.key, document.revision)])
        return isinstance(await self._committer.commit_guarded(batch), Committed)

    async def failed_again(self, parked: Parked, document: Document, problem: str) -> None:
        """Note one more failure."""
        extra = parks(self._definition, parked._replace(attempts=parked.attempts + 1, problem=problem))
        token = self._store.runtime.unique()
        puts = [put._replace(when=document.revision) for put in extra(token) if isinstance(put, Put)]
        await self._committer.commit_guarded(Batch(token, puts))
