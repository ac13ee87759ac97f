"""Every test that takes ``world`` runs on both persisters and on both embedded stores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.world import World


@pytest.fixture(params=["sync-memory", "sync-sqlite", "async-memory", "async-sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    face, backend = request.param.split("-")
    url = "memory://" if backend == "memory" else f"sqlite:///{tmp_path}/store.db?durability=off"
    with asyncio.Runner() as runner:
        opened = World(face, url, runner)
        yield opened
        opened.close()
