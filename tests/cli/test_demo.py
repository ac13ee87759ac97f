"""``eventstate demo``: it finds nothing wrong where all is well, and finds what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eventstate import StateMachinePersister, open_store
from eventstate.cli.demo.audit import Audit, audit
from eventstate.cli.demo.ledger import Intent, Ledger, digest_of, read_ledgers
from eventstate.cli.demo.orders import ORDERS, TRANSITIONS, Order, Placed, evolve, next_event
from eventstate.cli.demo.report import Report, count, fault, print_report
from eventstate.stores.base import Store
from tests.cli.conftest import Cli
from tests.cli.damage import flip_head

pytestmark = pytest.mark.backend("sqlite")


def demonstrated(*options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "eventstate", "demo", "--json", *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    return json.loads(ran.stdout)


FAULTS = ("lost", "different", "duplicates", "gaps", "unasked", "unlike", "lost_states", "findings", "failed_writers")


@pytest.mark.serial
def test_nothing_is_lost_when_writers_are_killed() -> None:
    found = demonstrated("--seconds", "5")
    assert found["is_good"]
    assert {name: found[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert found["kills"] >= 4
    assert found["compared"] == found["acknowledged"] > 50
    assert found["events"] == found["acknowledged"] + found["committed_in_flight"]
    assert found["sampled"] > 0


@pytest.mark.serial
def test_nothing_is_lost_when_an_import_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    rows = (f"c{n * 7 % 900},act-{n % 13},2024-05-01T10:{n % 60:02}:00Z,{n}\n" for n in range(9000))
    log.write_text("case,concept:name,time:timestamp,n\n" + "".join(rows))
    found = demonstrated("--seconds", "6", "--data", str(log))
    assert found["is_good"]
    assert found["kills"] >= 1
    assert (found["rows"], found["streams"], found["compared"]) == (9000, 900, 9000)
    assert (found["lost"], found["duplicates"], found["different"], found["findings"]) == (0, 0, 0, 0)


def test_data_whose_columns_nobody_knows(cli: Cli, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("a,b\n1,2\n")
    assert "--state-id and --action" in cli.run(["demo", "--data", str(log)], 2).err


def test_the_machine_does_what_it_declares() -> None:
    random = Random(1)
    order, seen = Order(), set[tuple[str, str, str]]()
    for _ in range(3000):
        event = next_event(order, random)
        after = evolve(order, event)
        seen.add((order.status, type(event).__name__, after.status))
        order = after
    assert seen == set(TRANSITIONS)


class World:
    """A store with one order of three events, and a ledger that says the same."""

    def __init__(self, store: Store, path: Path) -> None:
        self.persister = StateMachinePersister(store, governor="shop", machines=[ORDERS])
        self.path = path
        self.ledger = Ledger(path)
        self.order = Order()
        for _ in range(3):
            self.ledger.acknowledge(self.append())

    def append(self, *, is_stored: bool = True) -> Intent:
        """One append, written down."""
        random = Random(1)
        event = next_event(self.order, random)
        version = self.persister.load(ORDERS, "1").version if self.persister.exists(ORDERS, "1") else 0
        after = evolve(self.order, event)
        intent = Intent(f"w0.1.{version + 1}", "order-1", version + 1, digest_of(ORDERS.dump(after)))
        self.ledger.intend(intent)
        if is_stored:
            self.persister.append(ORDERS, "1", event, expected=version, correlation_id=intent.name)
            self.order = after
        return intent

    def audit(self) -> Audit:
        return audit(self.persister, read_ledgers([self.path]), Random(1), lambda _doing: None)


@pytest.fixture
def world(sqlite_url: str, tmp_path: Path) -> Iterator[World]:
    with open_store(sqlite_url) as store:
        yield World(store, tmp_path / "ledger")


def test_an_audit_of_what_is_right(world: World) -> None:
    found = world.audit()
    assert found.faults == 0
    assert (found.acknowledged, found.compared, found.sampled, found.events, found.streams) == (3, 3, 3, 3, 1)


def test_an_append_cut_short_may_be_there_or_not(world: World) -> None:
    world.append(is_stored=True)
    world.append(is_stored=False)
    found = world.audit()
    assert found.faults == 0
    assert (found.in_flight, found.committed_in_flight) == (2, 1)


def test_an_acknowledged_append_that_is_not_there_is_lost(world: World) -> None:
    world.ledger.acknowledge(world.append(is_stored=False))
    assert (world.audit().lost, world.audit().faults) == (1, 1)


def test_a_refused_append_must_not_be_there(world: World) -> None:
    world.ledger.refuse(world.append())
    assert world.audit().unasked == 1


def test_an_event_nobody_meant_is_found(world: World) -> None:
    world.persister.append(ORDERS, "2", Placed("nobody"), expected=0, correlation_id="w9.9.9")
    assert world.audit().unasked == 1


def test_an_append_that_is_there_twice_is_found(world: World) -> None:
    world.persister.append(ORDERS, "2", Placed("ada"), expected=0, correlation_id="w0.1.2")
    found = world.audit()
    assert (found.duplicates, found.different) == (1, 1)


def test_an_acknowledged_state_that_differs_is_found(world: World) -> None:
    intent = world.append()
    world.path.write_text(world.path.read_text().replace(intent.digest, "f" * 24))
    world.ledger.acknowledge(intent)
    assert world.audit().different == 2  # in the history, and loaded alone


def test_a_state_lost_by_a_writer_is_a_fault(world: World) -> None:
    world.ledger.started(recovered=5, lost=1)
    assert world.audit().lost_states == 1


def test_a_bad_head_is_recovered_before_it_is_compared(world: World, tmp_path: Path) -> None:
    flip_head(tmp_path / "store.db", "order-1")
    assert world.audit().faults == 0


def test_lines_cut_short_by_a_kill_are_passed_over(world: World) -> None:
    with world.path.open("a") as file:
        file.write("i w0.1.9 order-1 9 abc")
    Ledger(world.path).started(recovered=1, lost=0)
    with world.path.open("a") as file:
        file.write("a w0.1.")
    records = read_ledgers([world.path])
    assert (len(records.intents), len(records.outcomes), records.starts) == (3, 3, 1)


def test_a_report_with_a_fault_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(title="x", figures=(count("kills", "kills", 3), fault("lost", "lost", 2)))
    assert not report.is_good
    print_report(report, as_json=False)
    text = capsys.readouterr().out
    assert "2 !" in text
    assert "FAILED" in text
    assert Report(title="x", figures=(fault("lost", "lost", 0),)).is_good


def test_a_writer_killed_before_its_first_line_has_no_ledger(tmp_path: Path) -> None:
    written = tmp_path / "writer-1.ledger"
    written.write_text("s 3 0\n")
    records = read_ledgers([tmp_path / "writer-0.ledger", written])
    assert (records.starts, records.intents) == (1, {})
