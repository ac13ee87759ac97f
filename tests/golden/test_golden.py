"""Stores of every released format, replayed for ever: what they led to when they were written is what they lead to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    ANY,
    Machine,
    SealFile,
    SealManager,
    StateMachinePersister,
    TimeTravel,
    TransactionManager,
    open_store,
)
from eventstate.core.format import FORMAT
from eventstate.stores.sqlite.backup import restore
from tests.golden import reading
from tests.golden.reading import canonical, read, sha256_of
from tests.golden.today import LOGS, MACHINES, ORDERS, LineAdded, Order, OrderPlaced, Paid, evolve_order

pytestmark = pytest.mark.backend("sqlite")

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.db"))
SURROUNDINGS = [("0", "UTC"), ("1", "America/St_Johns"), ("4242", "Pacific/Chatham")]
"""PYTHONHASHSEED and TZ."""


def expected(file: Path) -> dict[str, Any]:
    return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))


def assert_same(found: dict[str, Any], written: dict[str, Any]) -> None:
    assert found == {name: value for name, value in written.items() if name not in ("sha256", "governor")}


@pytest.fixture(params=FILES, ids=[file.stem for file in FILES])
def golden(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def working_copy(golden: Path, tmp_path: Path) -> str:
    """The URL of a store made of a golden file, to be written to."""
    copy = tmp_path / "golden.db"
    shutil.copyfile(golden, tmp_path / "backup.db")
    restore(tmp_path / "backup.db", copy)
    return f"sqlite:///{copy}"


def test_there_is_one_of_each_format() -> None:
    assert {f"format-{number}" for number in range(1, FORMAT + 1)} <= {file.stem for file in FILES}


def test_the_file_is_the_one_that_was_released(golden: Path) -> None:
    """A golden file is never made again: what users have is not made again either."""
    assert sha256_of(golden) == expected(golden)["sha256"]


def test_everything_is_as_it_was(golden: Path) -> None:
    written = expected(golden)
    assert written["findings"] == []
    assert_same(read(golden, written["governor"]), written)


@pytest.mark.parametrize(("seed", "zone"), SURROUNDINGS)
def test_hash_seeds_and_time_zones_change_nothing(golden: Path, seed: str, zone: str) -> None:
    written = expected(golden)
    child = subprocess.run(
        [sys.executable, "-m", "tests.golden.reading", str(golden), written["governor"]],
        env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert_same(json.loads(child.stdout), written)


def test_the_seal_of_its_time_holds(golden: Path, working_copy: str) -> None:
    written = expected(golden)
    seal = SealFile.read(golden.with_suffix(".seal"))
    with open_store(working_copy) as store:
        persister = StateMachinePersister(store, governor=written["governor"], machines=MACHINES)
        report = persister.validate_consistency(seal=seal)
    assert (report.findings, report.sealed_streams) == ([], seal.seal.streams)


def test_full_replays_and_todays_code_come_to_the_same(golden: Path, working_copy: str) -> None:
    written = expected(golden)
    with open_store(working_copy) as store:
        governor = written["governor"]
        persister = StateMachinePersister(store, governor=governor, machines=MACHINES)
        for id, stream in written["streams"].items():
            if not stream["deleted"] and not stream["base"] and len(json.dumps(stream["current"])) > 30:
                assert canonical(persister.rebuild(id, full=True).data) == stream["current"], id
        assert TimeTravel(store, governor=governor, machines=MACHINES).replay_check().is_same


def test_a_store_of_its_time_goes_on(golden: Path, working_copy: str) -> None:
    written = expected(golden)
    governor = written["governor"]
    with open_store(working_copy) as store:
        persister = StateMachinePersister(store, governor=governor, machines=MACHINES, snapshot_every=4)
        for id, stream in written["streams"].items():
            machine, _, instance = id.partition("-")
            if machine == "order":
                persister.append(ORDERS, instance, LineAdded("more"), expected=stream["version"])
            elif id == "keyed":  # the same command again is the same command
                assert persister.save_state(id, {"n": 1}, expected=0, idempotency_key="save it").version == 1
            elif machine not in ("log", "bag"):
                persister.save_state(id, {"now": id}, expected=ANY, reopen=stream["deleted"])
        assert persister.load(LOGS, "sensor").data.last is not None
        report = persister.validate_consistency()
        assert report.findings == []
        assert report.total_events > written["verified"][1]
        assert SealManager(store, governor=governor).seal().number == len(written["seals"]) + 1
        manager = TransactionManager(store, governor=governor, machines=MACHINES, guarded=["lists"])
        assert manager.execute_transaction(lambda t: t.get_document("lists", "2")) == "guarded"


def forgetful(order: Order, event: Any) -> Order:
    return order if isinstance(event, LineAdded) else Order()


def test_a_golden_store_shows_what_changed_code_breaks(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upcaster that is wrong, a rule that means something else, a type that is gone."""
    written = expected(golden)
    wrong: list[Callable[[], Machine[Any, Any]]] = [
        lambda: orders(upcasters={"Paid": {1: lambda data: {"cents": data["amount"]}, 2: with_euro}}),
        lambda: orders(evolve=forgetful),
        lambda: orders(renamed={}),
    ]
    for make in wrong:
        monkeypatch.setattr(reading, "MACHINES", [make(), *MACHINES[1:]])
        try:
            found = read(golden, written["governor"])
        except Exception:  # that shows as well
            continue
        assert found["findings"] != []


def with_euro(data: Any) -> Any:
    return {**data, "currency": "EUR"}


def orders(**changed: Any) -> Machine[Any, Any]:
    """The order machine of today, declared otherwise."""
    options: dict[str, Any] = {
        "evolve": evolve_order,
        "events": [OrderPlaced, Paid, LineAdded],
        "renamed": {"Placed": "OrderPlaced"},
        "schemas": {"Paid": 3},
        "upcasters": {"Paid": {1: lambda data: {"cents": data["amount"] * 100}, 2: with_euro}},
        "state_schema": 2,
        "state_upcasters": {1: with_euro},
    }
    return Machine("order", Order(), **{**options, **changed})
