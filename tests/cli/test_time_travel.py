"""diff, fork, lineage, replay-check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventstate import StateMachinePersister, open_store
from eventstate.cli.resuming import ResumeFile
from tests.cli.conftest import Cli
from tests.cli.shop import ORDERS, Placed

pytestmark = pytest.mark.backend("sqlite")

MACHINES = ("--machines", "tests.cli.shop:ORDERS")
FAILING = ("--machines", "tests.cli.shop:FAILING")
FREE = ("--machines", "tests.cli.shop:FREE")


def test_two_versions_for_people(shop: Cli) -> None:
    text = shop("diff", "order-1", "--from", "1", *MACHINES).out
    assert text.splitlines() == [
        "order-1 version 1",
        "order-1 version 2",
        '~ $.status  "placed" -> "paid"',
        "~ $.total  0 -> 100",
    ]
    assert "no difference" in shop("diff", "doc", "--exit-code").out


def test_two_states_for_programs(shop: Cli) -> None:
    found = shop("diff", "order-2", "order-1", "--json").json
    assert found == {
        "from": {"state_id": "order-2", "version": 1},
        "to": {"state_id": "order-1", "version": 2},
        "is_same": False,
        "delta": {"=status": "paid", "=total": 100},
        "changes": [
            {"path": "$.status", "kind": "changed", "before": "placed", "after": "paid"},
            {"path": "$.total", "kind": "changed", "before": 0, "after": 100},
        ],
    }


def test_diff_in_a_script(shop: Cli) -> None:
    assert shop("diff", "doc", "--from", "1", "--exit-code", "--json", code=1).json["delta"] == {"=a": 2}
    shop("diff", "doc", "--from", "1")
    shop("diff", "doc", "--from-time", "3024-01-01", "--exit-code")
    assert shop("diff", "doc", "nix", "--json", code=3).error["type"] == "StateNotFoundError"
    assert "no ISO 8601 time" in shop("diff", "doc", "--to-time", "noon", code=2).err
    assert "not both" in shop("diff", "doc", "--from", "1", "--from-time", "2024-01-01", code=2).err


def test_forks(shop: Cli) -> None:
    made = shop("fork", "order-1", "--to", "order-9", "--at-version", "1", "--changed-by", "kim", "--json", *MACHINES)
    assert made.json["data"] == {"status": "placed", "total": 0}
    assert made.json["parent"] == {"state_id": "order-1", "version": 1}
    assert made.json["metadata"]["changed_by"] == "kim"
    again = shop("fork", "order-1", "--to", "order-9", "--json", *MACHINES, code=4)
    assert again.error["type"] == "VersionConflictError"
    text = shop("fork", "doc", "--to", "copy").out
    assert text == "copy begins with the state of doc at version 2\n"
    assert shop("lineage", "order-9", "--json").json == {
        "state_id": "order-9",
        "parents": [{"governor": "default", "state_id": "order-1", "version": 1}],
        "forks": [],
    }
    assert shop("lineage", "order-1", "--json").json["forks"] == [{"state_id": "order-9", "version": 1}]
    assert "order-1" in shop("lineage", "order-9").out
    assert shop("history", "order-9", *MACHINES).out.count("$forked") == 1
    shop("verify", *MACHINES)


def test_replay_of_unchanged_code(shop: Cli) -> None:
    report = shop("replay-check", "--transitions", "--json", *MACHINES).json
    assert report.pop("seconds") >= 0
    assert report == {
        "is_same": True,
        "streams": 4,
        "events": 7,
        "compared": 3,
        "incomparable": 0,
        "without_machine": 0,
        "total_divergences": 0,
        "declared": 0,
        "divergences": [],
    }
    without = shop("replay-check")
    assert "all as recorded" in without.out
    assert "2 typed streams were not folded" in without.err


def test_replay_of_changed_code_is_a_finding(shop: Cli) -> None:
    report = shop("replay-check", "--json", *FREE, code=1).json
    (found,) = report["divergences"]
    assert (found["state_id"], found["version"], found["recorded_in"]) == ("order-1", 2, "head")
    assert found["changes"] == [{"path": "$.total", "kind": "changed", "before": 100, "after": 0}]
    assert (found["is_declared"], report["declared"]) == (True, 1)
    shop("replay-check", "--accept-raised", *FREE)
    text = shop("replay-check", *FREE, code=1).out
    assert "order-1 version 2: not the state that its head has (recorded under fold_version 1, now 2)" in text
    assert "~ $.total  100 -> 0" in text


def test_replay_of_code_that_fails_is_a_finding(shop: Cli) -> None:
    report = shop("replay-check", "--json", "--accept-raised", *FAILING, code=1).json
    assert [(d["state_id"], d["version"], d["kind"]) for d in report["divergences"]] == [
        ("order-1", 1, "fails"),
        ("order-2", 1, "fails"),
    ]
    assert "evolve raised KeyError" in report["divergences"][0]["problem"]
    few = shop("replay-check", "--limit", "1", *FAILING, code=1)
    assert "1 more are not shown" in few.err


def _then_interrupted(write: Callable[..., None]) -> Callable[..., None]:
    def interrupted(*arguments: Any) -> None:
        write(*arguments)
        raise KeyboardInterrupt

    return interrupted


def test_a_replay_goes_on_from_its_file(cli: Cli, tmp_path: Path) -> None:
    with open_store(cli.url) as store:
        persister = StateMachinePersister(store, machines=[ORDERS])
        for id in range(50):
            persister.append(ORDERS, f"{id:02}", Placed("ada"), expected=0)
    place = tmp_path / "place.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResumeFile, "write", _then_interrupted(ResumeFile.write))
        cli("replay-check", "--resume", str(place), *FAILING, code=130)
    assert 0 < json.loads(place.read_bytes())["report"]["streams"] < 50
    assert place.stat().st_mode & 0o077 == 0
    other = cli("replay-check", "--resume", str(place), *MACHINES, "--json", code=2)
    assert "another replay check" in other.error["message"]
    report = cli("replay-check", "--resume", str(place), "--json", *FAILING, code=1).json
    assert (report["streams"], report["total_divergences"]) == (50, 50)
    assert len({d["state_id"] for d in report["divergences"]}) == 50
    assert not place.exists()
    place.write_text("nonsense")
    assert "no replay check" in cli("replay-check", "--resume", str(place), code=2).err
    assert "can't be read: Is a directory" in cli("replay-check", "--resume", str(tmp_path), code=2).err
    nowhere = tmp_path / "none" / "place"
    assert "can't be written: No such file" in cli("replay-check", "--resume", str(nowhere), *MACHINES, code=2).err
