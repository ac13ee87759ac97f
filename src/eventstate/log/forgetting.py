"""Deleting the records of old idempotency keys, in a way that no old key ever runs again."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import orjson

from eventstate.core.documents import COMMAND, Batch, Committed, Delete, Key, Put, Require
from eventstate.core.idempotency import MARGIN_MICROS, SHORTEST_RETENTION_MICROS, minted_at
from eventstate.errors import ConfigurationError, TransactionConflictError
from eventstate.log.commands import horizon_key
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

PAGE: Final = 400
ATTEMPTS: Final = 20
_MICROSECOND: Final = timedelta(microseconds=1)


async def forget_keys(store: Store, owner: str, committer: Committer, older_than: timedelta) -> int:
    """Refuse timed keys older than this from now on, and delete the records of those a day older; how many.

    Keys that do not say when they were made stay for good.

    Raises:
        ConfigurationError: keys are kept for two days at least.
    """
    age = older_than // _MICROSECOND
    if age < SHORTEST_RETENTION_MICROS:
        raise ConfigurationError(f"older_than={older_than}: idempotency keys are kept for two days at least")
    before = await _refused_before(store, owner, committer, store.runtime.now() - age)
    deleted = 0
    after: Key | None = None
    while True:
        page = await store.scan(COMMAND, owner, after=after, limit=PAGE)
        old = [document.key for document in page.documents if _is_old(document.key.id, before - MARGIN_MICROS)]
        if old:
            deletes = [Delete(key, Require.ANY) for key in old]
            await committer.commit_guarded(Batch(store.runtime.unique(), deletes))
        deleted += len(old)
        after = page.next
        if after is None:
            return deleted


def _is_old(key: str, before: int) -> bool:
    minted = minted_at(key)
    return minted is not None and minted < before


async def _refused_before(store: Store, owner: str, committer: Committer, before: int) -> int:
    """Have keys refused that were made before a time, unless later ones are already; the time that holds then."""
    key = horizon_key(owner)
    for _ in range(ATTEMPTS):
        document = (await store.get([key])).documents.get(key)
        if document is not None and orjson.loads(document.body)["before"] >= before:
            return orjson.loads(document.body)["before"]
        token = store.runtime.unique()
        body = orjson.dumps({"t": token, "before": before})
        when = Require.ABSENT if document is None else document.revision
        if isinstance(await committer.commit_guarded(Batch(token, (Put(key, body, when),))), Committed):
            return before
    raise TransactionConflictError(keys=(str(key),), detail="others were faster every time")
