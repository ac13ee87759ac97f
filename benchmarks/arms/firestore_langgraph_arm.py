"""langgraph-checkpoint-firestore: every append is a full checkpoint.

``put`` saves the checkpoint alone, which is its best case. ``step`` saves what a graph saves for one node that hands
on to the next: the node's writes (its state, and the branch taken), and the checkpoint.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from langgraph_checkpoint_firestore import FirestoreSaver

from benchmarks.arms.firestore_place import place
from benchmarks.arms.langgraph_checkpoints import checkpoint, config, n_of
from benchmarks.arms.session import Shape
from benchmarks.payloads import State

BRANCH = "branch:to:next"
TASK = "00000000-0000-0000-0000-000000000000"
WORKERS = 64
"""Threads of the loop's executor, which its asyncio methods run in: asyncio's own number would be less."""


class LanggraphSession:
    def __init__(self, path: Path, *, whole_step: bool) -> None:
        os.environ["FIRESTORE_EMULATOR_HOST"], project = place(path)
        self.saver = FirestoreSaver(project_id=project)
        self._whole_step = whole_step
        self._parents: dict[str, str] = {}

    def append(self, machine: str, before: int, state: State) -> None:
        parent = self._parents.get(machine)
        if self._whole_step and parent is not None:
            self.saver.put_writes(config(machine, parent), [("state", state), (BRANCH, None)], TASK)
        value, metadata, versions = checkpoint(before, state)
        self.saver.put(config(machine, parent), value, metadata, versions)
        self._parents[machine] = value["id"]

    def rebuild(self, machine: str) -> int:
        return n_of(self.saver.get_tuple(config(machine)))

    def recover(self) -> tuple[int, int]:
        raise NotImplementedError("it lists no threads")

    def facts(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        self.saver.client.close()


class AsyncLanggraphSession:
    def __init__(self, path: Path, *, whole_step: bool) -> None:
        self._executor = ThreadPoolExecutor(WORKERS)
        asyncio.get_running_loop().set_default_executor(self._executor)
        self._blocking = LanggraphSession(path, whole_step=whole_step)
        self._saver: Any = self._blocking.saver
        self._whole_step = whole_step
        self._parents: dict[str, str] = {}

    async def append(self, machine: str, before: int, state: State) -> None:
        parent = self._parents.get(machine)
        if self._whole_step and parent is not None:
            await self._saver.aput_writes(config(machine, parent), [("state", state), (BRANCH, None)], TASK)
        value, metadata, versions = checkpoint(before, state)
        await self._saver.aput(config(machine, parent), value, metadata, versions)
        self._parents[machine] = value["id"]

    async def rebuild(self, machine: str) -> int:
        return n_of(await self._saver.aget_tuple(config(machine)))

    async def recover(self) -> tuple[int, int]:
        raise NotImplementedError("it lists no threads")

    async def facts(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        self._blocking.close()


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> LanggraphSession:
    return LanggraphSession(path, whole_step=variant == "step")


async def open_async(path: Path, *, variant: str, shape: Shape | None) -> AsyncLanggraphSession:
    return AsyncLanggraphSession(path, whole_step=variant == "step")
