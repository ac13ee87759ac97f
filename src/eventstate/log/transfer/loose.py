"""Idempotency keys and users' documents written into a store: each only where it is absent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from eventstate.core.chain import key_context, seal, unseal
from eventstate.core.documents import COMMAND, DOCUMENT, GUARD, Batch, Key, Operation, Put, Refused, Require
from eventstate.errors import HistoryConflictError, TransactionConflictError
from eventstate.log.transfer.report import TransferReport
from eventstate.log.transfer.streams import LooseItem
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer
from eventstate.transactions.documents import GUARDED, SEPARATOR

BATCH_BYTES: Final = 2_500_000
ITEMS: Final = 200
"""In one commit; each may take a guard with it."""

ATTEMPTS: Final = 3

_ADVICE: Final = {
    COMMAND: "the idempotency key stands for another command there; leave keys out (--commands)",
    DOCUMENT: "the document has another content, and no history that would say which one is newer; delete it in the"
    " target by a transaction and copy again, or leave documents out (--documents)",
}


class LooseTarget:
    """Writes what belongs to no stream into one governor of a store."""

    def __init__(self, store: Store, governor: str, source: str, report: TransferReport) -> None:
        self._store = store
        self._owner = governor
        self._source = source
        self._report = report
        self._committer = Committer(store, governor)

    async def take(self, items: Sequence[LooseItem]) -> None:
        """Write those that are not there.

        Raises:
            CorruptionError: a document is not what was written.
            HistoryConflictError: one is there with another content.
            TransactionConflictError: others write them at the same time.
        """
        puts = [self._put(item) for item in items]
        while puts:
            size = count = 0
            while count < min(ITEMS, len(puts)) and (not count or size + len(puts[count].body) <= BATCH_BYTES):
                size += len(puts[count].body)
                count += 1
            await self._commit(puts[:count])
            puts = puts[count:]

    def _put(self, item: LooseItem) -> Put:
        if item.kind == "command":
            return Put(Key(COMMAND, self._owner, item.id), item.body, Require.ABSENT)
        key = Key(DOCUMENT, self._source, item.id)
        members, _ = unseal(key_context(key), item.body, key)
        key = key._replace(owner=self._owner)
        return Put(key, seal(key_context(key), members)[0], Require.ABSENT)

    async def _commit(self, puts: Sequence[Put]) -> None:
        for _ in range(ATTEMPTS):
            missing = await self._missing(puts)
            if not missing:
                return
            # They carry the tokens of other commits. So a refusal may also be that of a copy sent again: look again.
            token = self._store.runtime.unique()
            operations: list[Operation] = [*missing, *self._guards(missing, token)]
            result = await self._committer.commit_guarded(Batch(token, tuple(operations)))
            if not isinstance(result, Refused):
                self._report.commands += sum(put.key.kind == COMMAND for put in missing)
                self._report.documents += sum(put.key.kind == DOCUMENT for put in missing)
                return
        if await self._missing(puts):
            raise TransactionConflictError(keys=tuple(str(put.key) for put in puts[:3]), detail="others write them too")

    async def _missing(self, puts: Sequence[Put]) -> list[Put]:
        found = (await self._store.get([put.key for put in puts])).documents
        for put in puts:
            if put.key in found and found[put.key].body != put.body:
                problem = _ADVICE[put.key.kind]
                raise HistoryConflictError(store=self._store.url, stream=put.key.id, problem=problem)
        return [put for put in puts if put.key not in found]

    def _guards(self, puts: Sequence[Put], token: str) -> list[Put]:
        """Who lists a guarded collection meanwhile must notice what is added to it."""
        collections = [put.key.id.partition(SEPARATOR)[0] for put in puts if put.key.kind == DOCUMENT]
        guarded = sorted({name.removesuffix(GUARDED) for name in collections if name.endswith(GUARDED)})
        body = orjson.dumps({"t": token})
        return [Put(Key(GUARD, self._owner, collection), body, Require.ANY) for collection in guarded]
