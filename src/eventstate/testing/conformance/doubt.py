"""What the cases about missing answers share: a store reached through faults, and time that is the test's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson

from eventstate.core.chain import stored_digest
from eventstate.core.expected import ANY
from eventstate.core.format import Base, Image, decode_head, encode_head
from eventstate.errors import (
    CommitUnknownError,
)
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import (
    TALLIES,
    Added,
    Face,
    PersisterSuite,
    entry_key,
    head_key,
    stored,
)
from eventstate.testing.conformance.suite import (
    Put,
    Refused,
    committed,
    raises,
    read,
    remove,
    unique,
)
from eventstate.testing.faults import Fault, FaultyStore

DELAYED, LOST_ANSWER, LOST_REQUEST, UNAVAILABLE = (
    Fault.DELAYED,
    Fault.LOST_ANSWER,
    Fault.LOST_REQUEST,
    Fault.UNAVAILABLE,
)
NEVER_ANSWERED: Final = (LOST_REQUEST,) * 1000


class SettlementSuite(PersisterSuite):
    """One store, reached by some through faults and by others directly."""

    def faulty(self, store: Store, *faults: Fault) -> FaultyStore:
        return FaultyStore(store, faults, runtime=self.world.steered())

    async def unknown(self, call: Awaitable[Any]) -> str:
        """The token of a call that must end as unknown."""
        with raises(CommitUnknownError) as caught:
            await call
        return caught.error.token

    async def refuse_late_copies(self, store: FaultyStore) -> None:
        """Deliver every held copy: none may be applied."""
        while store.held:
            result = await store.deliver()
            assert isinstance(result, Refused), f"a late copy landed: {result}"

    async def event(self, persister: Face, mark: str, expected: Any = ANY, **options: Any) -> Any:
        """Append one event to the tally."""
        return await persister.append(TALLIES, "1", Added(mark), expected=expected, **options)


async def prune(store: Store, id: str, version: int) -> None:
    """Retention in small: the base goes into the head, then the entries up to it are deleted."""
    document = await stored(store, head_key(id))
    head, plain = decode_head(document)
    digest = stored_digest((await stored(store, entry_key(id, version))).body)
    image = head.image and Image(orjson.dumps(plain), head.image.fold, head.image.schema, head.image.label)
    tip = head.tip._replace(base=Base(version, digest))
    new = encode_head(tip, image, token=unique(), action=head.action, metadata=head.metadata)
    await committed(store, Put(document.key, new, document.revision))
    for number in range(1, version + 1):
        if await read(store, entry_key(id, number)) is not None:
            await remove(store, entry_key(id, number))


async def ignoring(call: Callable[[], Awaitable[Any]]) -> None:
    await call()
