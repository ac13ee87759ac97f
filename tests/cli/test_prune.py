"""Pruning and pins on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eventstate import StateMachinePersister, open_store, timed_key
from eventstate.cli.policies import parse_age
from eventstate.errors import ConfigurationError
from tests.cli.conftest import Cli
from tests.cli.shop import ORDERS, Paid, Placed

RULE = ("--keep-last", "1")
MACHINES = ("--machines", "tests.cli.shop:ORDERS")


@pytest.fixture
def log(cli: Cli) -> Cli:
    """A store with three orders of two events, and a note of five."""
    with open_store(cli.url) as store:
        persister = StateMachinePersister(store, machines=[ORDERS])
        for id in ("1", "2", "3"):
            persister.append(ORDERS, id, Placed("ada"), expected=0)
            persister.append(ORDERS, id, Paid(7), expected=1)
        for n in range(5):
            persister.save_state("note", {"n": n, "text": "x" * 20_000}, expected=n)
    return cli


def test_a_dry_run_shows_what_would_go_and_does_nothing(log: Cli) -> None:
    ran = log("prune", *RULE, "--dry-run", "--json", *MACHINES).json
    assert ran["dry_run"]
    assert (ran["streams"], ran["events"], ran["pruned_events"], ran["deleted_entries"]) == (4, 11, 7, 0)
    assert ran["by_machine"]["order"]["pruned_events"] == 3
    table = log("prune", *RULE, "--dry-run", *MACHINES).out
    assert "would go" in table
    assert "order" in table
    assert log("stats", "--json").json["total_events"] == 11


def test_older_versions_come_from_the_archive(log: Cli, tmp_path: Path) -> None:
    folder = str(tmp_path / "archive")
    before = log("history", "order-1", "--json", *MACHINES).lines
    ran = log("prune", *RULE, "--archive", folder, "--json", *MACHINES).json
    assert (ran["pruned_events"], ran["deleted_entries"], ran["packs"]) == (7, 7, 1)
    assert log("verify", "--json", *MACHINES).json["is_consistent"]
    assert log("load", "order-1", "--at-version", "1", "--archive", folder, "--json", *MACHINES).json["version"] == 1
    assert log("history", "order-1", "--archive", folder, "--json", *MACHINES).lines == before
    assert [line["version"] for line in log("history", "note", "--json").lines] == [5]
    assert "no version 2" in log("load", "note", "--at-version", "2", code=3).err
    assert "entries deleted" in log("prune", *RULE, "--archive", folder, *MACHINES).out


def test_an_archive_is_checked(log: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    log("prune", *RULE, "--archive", str(folder), *MACHINES)
    found = log("check-archive", str(folder), "--json").json
    assert (found["is_complete"], found["packs"], found["streams"], found["events"]) == (True, 1, 4, 7)
    assert "all as it was" in log("check-archive", str(folder)).out
    pack = next(folder.rglob("*.pack"))
    pack.write_bytes(pack.read_bytes().replace(b"Placed", b"Placid"))
    assert len(log("check-archive", str(folder), "--json", code=1).json["findings"]) == 4
    assert "findings: 4" in log("check-archive", str(folder), code=1).out


def test_the_file_becomes_smaller_with_vacuum(log: Cli, tmp_path: Path) -> None:
    ran = log("prune", *RULE, "--archive", str(tmp_path / "archive"), "--vacuum", "--json", *MACHINES).json
    assert ran["bytes_after"] < ran["bytes_before"] / 2
    assert log("verify", "--json", *MACHINES).json["is_consistent"]


def test_it_must_be_said_where_events_go(log: Cli, tmp_path: Path) -> None:
    assert "--archive FOLDER" in log("prune", *RULE, code=2).err
    assert "which events may go" in log("prune", "--no-archive", code=2).err
    log("prune", *RULE, "--no-archive", "--archive", str(tmp_path), code=2)
    log("prune", "--max-age", "soon", "--dry-run", code=2)
    assert log("stats", "--json").json["total_events"] == 11
    assert log("prune", *RULE, "--no-archive", "--json", *MACHINES).json["pruned_events"] == 7


def test_typed_states_without_their_machines_are_left_and_named(log: Cli) -> None:
    ran = log("prune", *RULE, "--no-archive", "--json", code=1).json
    assert ran["problem_count"] == 3
    assert ran["problems"][0]["state_id"] == "order-1"
    assert "pass its Machine" in ran["problems"][0]["problem"]
    assert "left as it is" in log("prune", *RULE, "--no-archive", code=1).out


def test_rules_by_machine(log: Cli, tmp_path: Path) -> None:
    assert log("prune", *RULE, "--machine", "order", "--dry-run", "--json", *MACHINES).json["pruned_events"] == 3
    policies = tmp_path / "retention.toml"
    policies.write_text('[default]\nkeep_last = 2\n[machines.order]\nmax_age = "90d"\nkeep_last = 1\n')
    ran = log("prune", "--policy", str(policies), "--dry-run", "--json", *MACHINES).json
    assert (ran["by_machine"][""]["pruned_events"], ran["by_machine"]["order"]["pruned_events"]) == (3, 0)
    for wrong in ("[", "[other]", "[default]\nmax_size = 1", "[default]\nkeep_last = 0", "default = 1"):
        policies.write_text(wrong)
        assert str(policies) in log("prune", "--policy", str(policies), "--dry-run", code=2).err
    log("prune", "--policy", str(tmp_path / "none.toml"), "--dry-run", code=2)


def test_holds_are_made_listed_and_released(log: Cli) -> None:
    made = log("hold", "court", "order-2", "--reason", "case 7", "--by", "kim", "--json").json
    assert (made["kind"], made["state_id"], made["from_version"], made["reason"]) == ("hold", "order-2", 1, "case 7")
    assert [pin["name"] for pin in log("pins", "--json").lines] == ["court"]
    assert "case 7" in log("pins").out
    ran = log("prune", *RULE, "--dry-run", "--json", *MACHINES).json
    assert (ran["pruned_events"], ran["held_streams"], ran["held_by"]) == (6, 1, {"hold:court": 1})
    assert "held by hold:court" in log("prune", *RULE, "--dry-run", *MACHINES).out
    log("hold", "court", "order-3", code=2)
    log("hold", "other", "nobody", code=3)
    assert "released" in log("release", "court").out
    log("release", "court", code=3)
    assert log("pins", "--json").lines == []


def test_it_says_why_nothing_goes(log: Cli) -> None:
    assert "the rules keep every event" in log("prune", "--keep-last", "9", "--no-archive", *MACHINES).out
    assert "no states of governor 'nobody'" in log("prune", *RULE, "--dry-run", "--governor", "nobody").out
    for id in ("order-1", "order-2", "order-3", "note"):
        log("hold", id, id)
    assert "is held" in log("prune", *RULE, "--no-archive", *MACHINES).out
    assert "nothing can go" not in log("prune", "--keep-last", "1", "--machine", "order", *MACHINES, "--dry-run").err


def test_old_keys_are_forgotten(log: Cli) -> None:
    old = timed_key("pay", datetime.now(UTC) - timedelta(days=40))
    with open_store(log.url) as store:
        persister = StateMachinePersister(store)
        for n, key in enumerate((old, "plain")):
            persister.save_state("key", n, expected=n, idempotency_key=key)
    log("forget-keys", "1d", code=2)
    assert "1 record" in log("forget-keys", "30d").out
    assert log("forget-keys", "30d", "--json").json == {"deleted": 0}


@pytest.mark.parametrize(("text", "seconds"), [("90d", 90 * 86_400), ("12h", 43_200), ("1.5m", 90), ("2w", 1_209_600)])
def test_spans_of_time(text: str, seconds: float) -> None:
    assert parse_age(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "d", "90", "-1d", "1y", "9" * 400 + "w"])
def test_what_is_no_span_of_time(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_age(text)
