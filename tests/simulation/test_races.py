"""The schedules can fail: every race planted in the shipped code is found, and soon."""

from __future__ import annotations

import pytest

from eventstate.testing.planted import PLANTS, Plant
from eventstate.testing.simulation import Scenario, SimulationFailed, explore
from tests.simulation.appending import appending
from tests.simulation.races import RACES, Race

pytestmark = pytest.mark.backend("memory")

SEEDS = 1000

PLANTED = [
    pytest.param(race, scenario, id=f"{race.name}-{scenario.__name__}") for race in RACES for scenario in race.scenarios
]


@pytest.mark.parametrize(("race", "scenario"), PLANTED)
def test_schedules_find_a_planted_race(race: Race, scenario: Scenario) -> None:
    with race.planted(), pytest.raises(SimulationFailed, match=r"seed \d+"):
        explore(scenario, range(SEEDS))
    explore(scenario, range(10))  # it is gone


@pytest.mark.parametrize("plant", [pytest.param(plant, id=plant.name) for plant in PLANTS if plant.in_simulation])
def test_schedules_find_a_planted_bug(plant: Plant) -> None:
    with plant.planted(), pytest.raises(SimulationFailed, match=r"seed \d+"):
        explore(appending, range(SEEDS))


def test_every_race_has_its_name() -> None:
    assert len({race.name for race in RACES}) == len(RACES)
