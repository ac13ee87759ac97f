"""LangGraph's AsyncSqliteSaver: every append is a full checkpoint."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import sqlite3
from pathlib import Path

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.arms.langgraph_arm import seed
from benchmarks.arms.langgraph_checkpoints import checkpoint, config, n_of
from benchmarks.arms.session import Shape, durability
from benchmarks.payloads import State

__all__ = ["open_async", "seed"]


class AsyncLanggraphSession:
    """Keeps the parent checkpoint's id in memory while writing. ``whole``: rebuild reads every checkpoint."""

    def __init__(self, saver: AsyncSqliteSaver, *, whole: bool) -> None:
        self.saver = saver
        self._whole = whole
        self._parents: dict[str, str] = {}

    async def append(self, machine: str, before: int, state: State) -> None:
        value, metadata, versions = checkpoint(before, state)
        await self.saver.aput(config(machine, self._parents.get(machine)), value, metadata, versions)
        self._parents[machine] = value["id"]

    async def rebuild(self, machine: str) -> int:
        if self._whole:
            return max([n_of(saved) async for saved in self.saver.alist(config(machine))])
        return n_of(await self.saver.aget_tuple(config(machine)))

    async def recover(self) -> tuple[int, int]:
        query = "SELECT DISTINCT thread_id FROM checkpoints"  # it lists no ids itself
        rows = await (await self.saver.conn.execute(query)).fetchall()
        saved = [await self.saver.aget_tuple(config(machine)) for (machine,) in rows]
        return len(saved), sum(n_of(one) for one in saved)

    async def facts(self) -> dict[str, str]:
        journal_mode = (await (await self.saver.conn.execute("PRAGMA journal_mode")).fetchone())[0]
        synchronous = (await (await self.saver.conn.execute("PRAGMA synchronous")).fetchone())[0]
        return durability(journal_mode=journal_mode, synchronous=synchronous, sqlite=sqlite3.sqlite_version)

    async def close(self) -> None:
        await self.saver.conn.close()


async def open_async(path: Path, *, variant: str, shape: Shape | None) -> AsyncLanggraphSession:
    saver = AsyncSqliteSaver(await aiosqlite.connect(path, timeout=30))
    await saver.setup()
    return AsyncLanggraphSession(saver, whole=shape is not None and shape.snapshot_every == 0)
