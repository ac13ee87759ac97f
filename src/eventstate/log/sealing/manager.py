"""The sync face of seals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta

from eventstate.core.seals import Seal
from eventstate.errors import ConfigurationError
from eventstate.log.sealing.seals import Seals
from eventstate.log.sealing.taking import KEEP_LISTS
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store


class SealManager:
    """Seals of all streams of one governor: what `validate_consistency` holds the streams against.

    A chain of digests shows that a stream is what its head says. A seal shows that the head is what it was, too: a
    history that was cut short or rewritten with good digests, and a stream that was deleted. Keep a seal where
    whoever can write to the store can't, by `export`; those in the store prove less.

    Args:
        store: from `open_store`.
        governor: whose streams.
    """

    def __init__(self, store: Store, *, governor: str = "default") -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncSealManager with it")
        self._seals = Seals(store, governor)

    def seal(
        self,
        *,
        if_older_than: timedelta | None = None,
        anew: bool = False,
        keep: int = KEEP_LISTS,
        progress: Callable[[int], None] | None = None,
    ) -> Seal:
        """Seal every stream as it is now; others go on writing meanwhile.

        Each stream must be what the last seal saw, or that and more; so a change is not sealed over.

        Args:
            if_older_than: take none, and give back the last one, unless that is older.
            anew: don't compare with the last seal, as after the restore of a backup. The seal says so for ever.
            keep: how many seals keep their lists of streams in the store.
            progress: called with the number of streams sealed so far.

        Raises:
            CorruptionError: a stream is not what the last seal saw, or its head or a seal is corrupt. Nothing is
                sealed; run `validate_consistency`.
            TransactionConflictError: others took a seal each time, or wrote to one stream at every look.
            InvalidInputError: ``keep`` is below 1.
        """
        return drive(self._seals.seal(if_older_than=if_older_than, anew=anew, keep=keep, progress=progress))

    def list_seals(self) -> Iterator[Seal]:
        """The seals, oldest first, each checked against the one before.

        Raises:
            CorruptionError: a seal is changed or missing.
        """
        previous: Seal | None = None
        more = True
        while more:
            found, more = drive(self._seals.page(previous))
            yield from found
            previous = found[-1] if found else previous

    def export(self, file: str | os.PathLike[str], *, number: int | None = None, full: bool = False) -> Seal:
        """Write a seal to a file, the newest unless ``number`` says another: one line of JSON.

        With ``full`` its list of streams follows, one a line. Then the file proves the streams even where the list
        in the store is gone, and in a copy of the store.

        Raises:
            InvalidInputError: there is no such seal, or the file can't be written.
            CorruptionError: the seal or its list is not as it was written.
        """
        return drive(self._seals.export(file, number=number, full=full))
