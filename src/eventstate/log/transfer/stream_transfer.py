"""The sync face of export, import and copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from eventstate.errors import ConfigurationError
from eventstate.log.transfer.decrypting import Keys
from eventstate.log.transfer.report import TransferProgress, TransferReport
from eventstate.log.transfer.source import Selection
from eventstate.log.transfer.transferring import Transferring
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store


class StreamTransfer:
    """Takes streams out of a store, and brings them into one, with their history and its chain of digests.

    What arrives is what left, byte for byte: events, times, tokens, digests. A transfer that was interrupted, by a
    crash too, goes on when it is run again. Nothing that exists is overwritten.

    Args:
        store: from `open_store`.
        governor: whose streams.
    """

    def __init__(self, store: Store, *, governor: str = "default") -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncStreamTransfer with it")
        self._transferring = Transferring(store, governor)

    def export_file(
        self,
        path: str | os.PathLike[str],
        *,
        prefix: str = "",
        state_ids: Sequence[str] | None = None,
        commands: bool = False,
        documents: bool = False,
        replace: bool = False,
        decrypt: Keys | None = None,
        progress: TransferProgress | None = None,
    ) -> TransferReport:
        """Write streams to a file of JSON lines, packed where its name ends in ``.gz``. It appears once it is complete.

        Args:
            path: the file.
            prefix: only streams whose ids begin so.
            state_ids: only these streams.
            commands: idempotency keys too.
            documents: documents of transactions too.
            replace: whether a file of this name may be replaced.
            decrypt: a `Keyring`: events and states that are encrypted under its keys come in the clear. The file
                is for reading then, by its owner only; it can't be imported.
            progress: called with the report so far.

        Raises:
            InvalidInputError: the file exists, can't be written or is a store's own, or the options exclude each other.
            KeyLostError, DecryptionError: the keyring does not open what is to be decrypted.
            StateNotFoundError: one of ``state_ids`` does not exist.
            CorruptionError: a stream is not as it was written; `rebuild` mends a head.
            TransactionConflictError: a stream was pruned while it was read; run it again.
        """
        selection = Selection.of(prefix=prefix, state_ids=state_ids, commands=commands, documents=documents)
        return drive(
            self._transferring.export_file(Path(path), selection, replace=replace, progress=progress, decrypt=decrypt),
        )

    def import_file(
        self, path: str | os.PathLike[str], *, rechain: bool = False, progress: TransferProgress | None = None
    ) -> TransferReport:
        """Write the streams of an exported file into the store. All of the file is checked before anything is written.

        Args:
            path: the file.
            rechain: make new chains where the streams are those of another governor; digests are others then.
            progress: called with the report so far.

        Raises:
            ExportFileError: the file is no export, is cut, was changed or was decrypted; nothing was written.
            ConfigurationError: it holds the streams of another governor, and ``rechain`` is not set.
            InvalidInputError: the file can't be read or is a store's own, or holds encrypted values that are to get
                another governor.
            HistoryConflictError: a stream exists with another history; what came before it is written.
            TransactionConflictError: others write to these streams meanwhile; run it again.
            CorruptionError: a stream exists and is corrupt.
        """
        return drive(self._transferring.import_file(Path(path), rechain=rechain, progress=progress))

    def copy_to(
        self,
        target: Store,
        *,
        governor: str | None = None,
        prefix: str = "",
        state_ids: Sequence[str] | None = None,
        commands: bool = False,
        documents: bool = False,
        rechain: bool = False,
        progress: TransferProgress | None = None,
    ) -> TransferReport:
        """Copy streams into another store, and see in the end that all are there.

        Run again it goes on where it stopped, and brings over what has been added since.

        Args:
            target: from `open_store` too.
            governor: whose streams they are to be; the same governor's unless given.
            prefix, state_ids, commands, documents, progress: as in `export_file`.
            rechain: make new chains, which another governor needs; digests are others then.

        Raises:
            ConfigurationError: another governor without ``rechain``, or both stores are the same.
            InvalidInputError: encrypted values are to get another governor, or a source is copied in part itself.
            HistoryConflictError: a stream exists with another history; what came before it is written.
            StateNotFoundError, TransactionConflictError, CorruptionError: as in `export_file` and `import_file`.
        """
        if not isinstance(target.runtime, BlockingRuntime):
            raise ConfigurationError("the target is a store of open_async_store: open it with open_store")
        selection = Selection.of(prefix=prefix, state_ids=state_ids, commands=commands, documents=documents)
        return drive(
            self._transferring.copy_to(target, governor, selection, rechain=rechain, progress=progress),
        )
