from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventstate.testing.emulator import Emulator, EmulatorMissing, start_emulator
from tests.emulator import is_required
from tests.stores.firestore.world import AsyncWorld, Client, SyncWorld, World


@pytest.fixture(params=["sync", "asyncio"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    world: World = SyncWorld() if request.param == "sync" else AsyncWorld()
    yield world
    world.close()


@pytest.fixture
def client(world: World, emulator_host: str, project_id: str) -> Client:
    return Client(world, world.open(emulator_host, project_id))


@pytest.fixture
def own_emulator() -> Iterator[Emulator]:
    """An emulator that the test may stop and start again."""
    try:
        emulator = start_emulator()
    except EmulatorMissing as missing:
        if is_required():
            pytest.fail(f"EVENTSTATE_REQUIRE=emulator, but {missing}", pytrace=False)
        pytest.skip(str(missing))
    yield emulator
    emulator.stop()
