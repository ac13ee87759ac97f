"""Append, transaction, lock and deadlock protocols over tens of thousands of seeded schedules."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from eventstate.testing.simulation import Scenario, Simulation, explore
from tests.simulation.appending import appending
from tests.simulation.deadlocks import chain, circle, knots
from tests.simulation.histories import reading_and_appending
from tests.simulation.locking import locking
from tests.simulation.queues import working
from tests.simulation.rosters import filling_a_roster
from tests.simulation.transfers import transferring

pytestmark = pytest.mark.backend("memory")

SCHEDULES: dict[Scenario, int] = {
    appending: 3000,
    transferring: 4000,
    reading_and_appending: 4000,
    filling_a_roster: 2000,
    locking: 4000,
    circle: 1000,
    chain: 1000,
    knots: 2000,
    working: 500,
}
"""How many of each."""

CHUNK = 500
TORTURE = 10
"""How many times as many then."""

SCENARIOS = list(SCHEDULES)
BY_NAME = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
CHUNKS = [
    pytest.param(scenario, start, id=f"{scenario.__name__}-{start}")
    for scenario, count in SCHEDULES.items()
    for start in range(0, count, CHUNK)
]


def test_there_are_enough_of_them() -> None:
    assert sum(SCHEDULES.values()) >= 20_000
    assert all(count % CHUNK == 0 for count in SCHEDULES.values())


@pytest.mark.parametrize(("scenario", "start"), CHUNKS)
def test_nothing_goes_wrong_in_any_order(scenario: Scenario, start: int) -> None:
    explore(scenario, range(start, start + CHUNK))


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("scenario", "start"), CHUNKS)
def test_nothing_goes_wrong_in_many_more(scenario: Scenario, start: int) -> None:
    begin = 1_000_000 + TORTURE * start
    explore(scenario, range(begin, begin + TORTURE * CHUNK))


def trace_of(scenario: Scenario, seed: int, *, jumps: bool = True) -> tuple[str, int, float]:
    simulation = Simulation(seed)
    simulation.has_wall_clock_jumps = jumps
    simulation.run(scenario)
    return simulation.trace, simulation.steps, simulation.elapsed


@BY_NAME
def test_a_seed_is_a_run(scenario: Scenario) -> None:
    traces = [trace_of(scenario, seed) for seed in range(30)]
    assert traces == [trace_of(scenario, seed) for seed in range(30)]
    assert len(set(traces)) == 30, "different seeds gave the same run"


@BY_NAME
def test_a_changed_wall_clock_changes_nothing(scenario: Scenario) -> None:
    for seed in range(100, 130):
        assert trace_of(scenario, seed) == trace_of(scenario, seed, jumps=False), f"seed {seed} runs by the wall clock"


def all_traces() -> dict[str, Any]:
    return {scenario.__name__: [trace_of(scenario, seed) for seed in range(200, 210)] for scenario in SCENARIOS}


def test_a_seed_is_a_run_in_another_process() -> None:
    code = "from tests.simulation.test_schedules import all_traces; print(all_traces())"
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.strip() == str(all_traces())
