"""The asyncio face of export, import and copy: the methods of `StreamTransfer`, awaited."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from eventstate.errors import ConfigurationError
from eventstate.log.transfer.decrypting import Keys
from eventstate.log.transfer.report import TransferProgress, TransferReport
from eventstate.log.transfer.source import Selection
from eventstate.log.transfer.transferring import Transferring
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store


class AsyncStreamTransfer:
    """`StreamTransfer` for asyncio; its stores are those of `open_async_store`."""

    def __init__(self, store: Store, *, governor: str = "default") -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use StreamTransfer with it")
        self._transferring = Transferring(store, governor)

    async def export_file(
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
        """As `StreamTransfer.export_file`."""
        selection = Selection.of(prefix=prefix, state_ids=state_ids, commands=commands, documents=documents)
        return await self._transferring.export_file(
            Path(path), selection, replace=replace, progress=progress, decrypt=decrypt
        )

    async def import_file(
        self, path: str | os.PathLike[str], *, rechain: bool = False, progress: TransferProgress | None = None
    ) -> TransferReport:
        """As `StreamTransfer.import_file`."""
        return await self._transferring.import_file(Path(path), rechain=rechain, progress=progress)

    async def copy_to(
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
        """As `StreamTransfer.copy_to`."""
        if isinstance(target.runtime, BlockingRuntime):
            raise ConfigurationError("the target is a store of open_store: open it with open_async_store")
        selection = Selection.of(prefix=prefix, state_ids=state_ids, commands=commands, documents=documents)
        return await self._transferring.copy_to(target, governor, selection, rechain=rechain, progress=progress)
