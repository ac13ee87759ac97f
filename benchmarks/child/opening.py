"""Opening the store that a request names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol, cast

from benchmarks.arms.session import AsyncSession, Counter, Session, Shape
from benchmarks.protocol import Request


class ArmModule(Protocol):
    """What a module in `benchmarks.arms` defines; without a blocking or asyncio form, without its function."""

    def open_sync(self, path: Path, *, variant: str, shape: Shape | None) -> Session: ...

    async def open_async(self, path: Path, *, variant: str, shape: Shape | None) -> AsyncSession: ...

    def open_counter(self, path: Path, *, variant: str) -> Counter: ...

    def seed(self, path: Path, shape: Shape, *, variant: str) -> None: ...


def arm(request: Request) -> ArmModule:
    return cast(ArmModule, importlib.import_module(f"benchmarks.arms.{request.module}"))


def shape(request: Request) -> Shape:
    return Shape(
        machines=request.machines, events=request.events, size=request.size, snapshot_every=request.snapshot_every
    )


def open_sync(request: Request, *, seeded: bool = False) -> Session:
    return arm(request).open_sync(Path(request.path), variant=request.variant, shape=shape(request) if seeded else None)


async def open_async(request: Request, *, seeded: bool = False) -> AsyncSession:
    return await arm(request).open_async(
        Path(request.path), variant=request.variant, shape=shape(request) if seeded else None
    )


def open_counter(request: Request) -> Counter:
    return arm(request).open_counter(Path(request.path), variant=request.variant)
