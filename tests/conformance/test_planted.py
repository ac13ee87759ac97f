"""The suites can fail: every planted bug is caught, by the case that is there for it, in seconds."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from eventstate.testing.conformance import AsyncioWorld, BlockingWorld, Suite
from eventstate.testing.model import PersisterMachine
from eventstate.testing.model_documents import DocumentMachine
from eventstate.testing.planted import PLANTS, Plant
from eventstate.testing.simulation import SimulationFailed, explore
from tests.conformance.backends import Memory, OnMemory, OnSqlite
from tests.conformance.test_simulation import racing, racing_with_keys

SECONDS = 20.0
BACKENDS: dict[str, type[Suite]] = {"memory": OnMemory, "sqlite": OnSqlite}


def named(plant: Plant) -> Any:
    return pytest.param(plant, id=f"{plant.name}-{plant.backend}")


def failures(plant: Plant) -> list[str]:
    """The cases of a plant that fail now."""
    world = AsyncioWorld if plant.world == "asyncio" else BlockingWorld
    made = type(
        f"{plant.suite.__name__}On{plant.backend}", (BACKENDS[plant.backend], plant.suite), {"world_type": world}
    )
    failed: list[str] = []
    for name in plant.cases:
        suite = made()
        try:
            getattr(suite, name)()
        except Exception as error:  # whatever a bug makes of a case is a failure of it
            failed.append(f"{name}: {type(error).__name__}: {error}")
        finally:
            suite.teardown_method()
    return failed


def plant_called(name: str) -> Plant:
    return next(plant for plant in PLANTS if plant.name == name)


@pytest.mark.parametrize("plant", [named(plant) for plant in PLANTS])
def test_a_planted_bug_is_caught(plant: Plant) -> None:
    assert failures(plant) == [], "these cases fail without the bug too"
    started = time.monotonic()
    with plant.planted():
        failed = failures(plant)
    taken = time.monotonic() - started
    assert failed, f"the suite misses {plant.name}: {plant.story}"
    assert taken < SECONDS, f"it took {taken:.0f} s"
    assert failures(plant) == [], "the bug is still there"


@pytest.mark.parametrize("plant", [named(plant) for plant in PLANTS if plant.in_simulation])
def test_schedules_find_a_planted_bug(plant: Plant) -> None:
    with plant.planted(), pytest.raises(SimulationFailed, match=r"seed \d+"):
        explore_both(range(400))


def explore_both(seeds: range) -> None:
    for scenario in (racing, racing_with_keys):
        explore(scenario, seeds)


FOUND_BY_HISTORIES = [
    (PersisterMachine, "entry-create-is-the-only-compare-and-swap"),
    (PersisterMachine, "tombstone-ignored"),
    (PersisterMachine, "key-without-its-arguments"),
    (DocumentMachine, "absent-and-exists-ignored"),
    (DocumentMachine, "batch-one-by-one"),
    (DocumentMachine, "check-leaves-ghost"),
    (DocumentMachine, "after-included"),
    (DocumentMachine, "page-forgets-one"),
]


@pytest.mark.backend("memory")
@pytest.mark.parametrize(("machine", "name"), FOUND_BY_HISTORIES)
def test_random_histories_find_a_planted_bug(machine: type[RuleBasedStateMachine], name: str) -> None:
    made = type(machine.__name__, (machine,), {"suite_type": Memory})
    chosen = settings(max_examples=300, stateful_step_count=40, phases=[Phase.generate], derandomize=True)
    with plant_called(name).planted(), pytest.raises(Exception):  # noqa: B017 - whatever a bug makes of a history
        run_state_machine_as_test(made, settings=chosen)


def test_there_is_a_plant_for_every_promise() -> None:
    assert len(PLANTS) >= 30
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)
