"""show, history, load, list, stats, governors."""

from __future__ import annotations

import pytest

from eventstate import ChangeMetadata, Event, StateMachinePersister, open_store
from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")

MACHINES = ("--machines", "tests.cli.shop:ORDERS")


def test_show_for_programs(shop: Cli) -> None:
    shown = shop("show", "order-1", "--json", *MACHINES).json
    assert shown["timestamp"].endswith("Z")
    del shown["timestamp"]
    assert shown == {
        "state_id": "order-1",
        "version": 2,
        "data": {"status": "paid", "total": 100},
        "action": "Paid",
        "occurred_at": None,
        "metadata": {"changed_by": "kim", "reason": "checkout", "parent_version": 1},
        "legal_actions": [],
    }


def test_show_for_people(shop: Cli) -> None:
    text = shop("show", "order-2", *MACHINES).out
    words = dict(line.rsplit("  ", 1) for line in text.splitlines() if not line.startswith(" "))
    shown = {name.strip(): value for name, value in words.items()}
    assert {"state": "order-2", "version": "1", "action": "Placed", "legal actions": "Paid"}.items() <= shown.items()
    assert '"status": "placed"' in text


def test_show_draws_the_machine(shop: Cli) -> None:
    text = shop("show", "order-1", "--diagram", *MACHINES).out
    assert "stateDiagram-v2" in text
    assert 'state "paid"' in text
    assert "stateDiagram-v2" in shop("show", "order-1", "--diagram", "--json", *MACHINES).json["diagram"]
    assert "needs its machine" in shop("show", "order-1", "--diagram", code=2).err


def test_a_typed_state_shows_without_its_machine(shop: Cli) -> None:
    shown = shop("show", "order-1", "--json").json
    assert shown["data"] == {"status": "paid", "total": 100}
    assert "legal_actions" not in shown


@pytest.mark.parametrize("command", ["show", "load", "history"])
def test_what_does_not_exist(shop: Cli, command: str) -> None:
    missing = shop(command, "nix", "--json", code=3)
    assert missing.out == ""
    assert missing.error == {
        "type": "StateNotFoundError",
        "message": "governor 'default' has no state 'nix'",
        "governor": "default",
        "state_id": "nix",
    }
    assert shop(command, "nix", code=3).err == "error: governor 'default' has no state 'nix'\n"


def test_a_deleted_state_has_a_history(shop: Cli) -> None:
    assert shop("show", "gone", "--json", code=3).error["type"] == "StateDeletedError"
    assert [event["action"] for event in shop("history", "gone", "--json").lines] == ["saved", "$deleted"]


def test_history_for_programs(shop: Cli) -> None:
    first, second = shop("history", "order-1", "--json", *MACHINES).lines
    del first["timestamp"]
    assert first == {
        "state_id": "order-1",
        "version": 1,
        "action": "Placed",
        "data": {"who": "ada"},
        "from_state": None,
        "to_state": {"status": "placed", "total": 0},
        "occurred_at": None,
        "metadata": {"changed_by": "kim", "reason": "checkout", "parent_version": 0},
    }
    assert second["from_state"] == first["to_state"]
    assert second["to_state"] == {"status": "paid", "total": 100}


def test_history_in_parts(shop: Cli) -> None:
    def versions(*options: str) -> list[int]:
        return [event["version"] for event in shop("history", "doc", "--json", *options).lines]

    assert versions() == [1, 2]
    assert versions("--from", "2") == [2]
    assert versions("--to", "1") == [1]
    assert versions("--limit", "1") == [1]
    assert versions("--from", "3") == []
    assert shop("history", "doc", "--from", "0", code=2).err.startswith("error: version 0")
    shop("history", "doc", "--limit", "0", code=2)


def test_history_for_people(shop: Cli) -> None:
    text = shop("history", "order-1", *MACHINES).out
    assert text.splitlines()[0].split() == ["version", "action", "time", "by", "reason", "state"]
    assert "checkout" in text
    assert '{"status":"paid","total":100}' in text


def test_load_at_a_version(shop: Cli) -> None:
    assert shop("load", "doc", "--at-version", "1", "--json").json["data"] == {"a": 1}
    assert shop("load", "doc", "--json").json["data"] == {"a": 2}
    assert shop("load", "doc", "--at-version", "3", "--json", code=3).error["type"] == "VersionNotFoundError"
    assert '"a": 1' in shop("load", "doc", "--at-version", "1").out


def test_load_at_a_time(cli: Cli) -> None:
    with open_store(cli.url) as store:
        persister = StateMachinePersister(store)
        for hour in (8, 10):
            occurred = ChangeMetadata(occurred_at=_time(hour))
            event = Event("moved", state={"hour": hour}, metadata=occurred)
            persister.append("train", event, expected=hour // 10)
    for time, hour in (("2024-05-01T09:00Z", 8), ("2024-05-01T10:00:00", 10), ("2024-05-01T11:59+02:00", 8)):
        assert cli("load", "train", "--at-time", time, "--json").json["data"] == {"hour": hour}
    assert (
        cli("load", "train", "--at-time", "2024-05-01T09:00Z", "--json").json["occurred_at"] == "2024-05-01T08:00:00Z"
    )
    cli("load", "train", "--at-time", "2024-05-01T07:00Z", code=3)
    assert "no ISO 8601 time" in cli("load", "train", "--at-time", "yesterday", code=2).err
    cli("load", "train", "--at-time", "2024-05-01", "--at-version", "1", code=2)


def _time(hour: int):
    from datetime import UTC, datetime

    return datetime(2024, 5, 1, hour, tzinfo=UTC)


def test_list(shop: Cli) -> None:
    def ids(*options: str) -> list[str]:
        return [state["state_id"] for state in shop("list", "--json", *options).lines]

    assert ids() == ["doc", "order-1", "order-2"]
    assert ids("--prefix", "d") == ["doc"]
    assert ids("--machine", "order") == ["order-1", "order-2"]
    assert ids("--state", "placed", *MACHINES) == ["order-2"]
    assert ids("--limit", "1") == ["doc"]
    assert ids("--limit", "1", "--after", "doc") == ["order-1"]
    more = shop("list", "--limit", "1")
    assert "there are more: --after 'doc'" in more.err
    assert more.out.splitlines()[0].split() == ["state", "version", "last", "action", "time"]
    assert "more" not in shop("list").err


def test_an_empty_list_says_why(shop: Cli) -> None:
    def said(*options: str) -> str:
        assert shop("list", "--json", *options).out == ""
        return shop("list", *options).err

    assert said("--machine", "odrer") == "there is no machine 'odrer'; there is 'order'\n"
    assert said("--state", "payed", *MACHINES) == (
        "no machine declares a state 'payed'; declared: 'new', 'placed', 'paid'\n"
    )
    assert said("--state", "new", *MACHINES) == "no state is in 'new', and none had it as its last action\n"
    assert said("--machine", "order", "--prefix", "x") == "no state matches\n"
    assert said("--machine", "a", "--governor", "other") == (
        "there is no machine 'a'; the governor has none, and --machines names none\n"
    )
    assert shop("list", "--machine", "order").err == ""


def test_a_state_that_may_be_meant_is_named(shop: Cli) -> None:
    for command in ("show", "load", "history"):
        failed = shop(command, "1", code=3)
        assert failed.err == "error: governor 'default' has no state '1': there is 'order-1'\n"
        assert shop(command, "9", code=3).err == "error: governor 'default' has no state '9'\n"


def test_what_no_machine_has_written_is_counted_for_none(cli: Cli) -> None:
    with open_store(cli.url) as store:
        for number in range(3):
            StateMachinePersister(store).save_state(f"2024-{number}", 1, expected=0)
    assert cli("stats", "--json").json["states_by_machine"] == {"": 3}


def test_stats(shop: Cli) -> None:
    assert shop("stats", "--json").json == {
        "governor": "default",
        "total_states": 3,
        "deleted_states": 1,
        "total_events": 7,
        "total_versions": 7,
        "max_version": 2,
        "total_snapshots": 0,
        "states_by_machine": {"": 2, "order": 2},
    }
    assert "total events     7" in shop("stats").out


def test_governors(shop: Cli) -> None:
    assert shop("governors", "--json").json == {"governors": ["default"]}
    assert shop("governors").out == "default\n"
    assert shop("list", "--governor", "other", "--json").out == ""


def test_nothing_in_the_data_reaches_the_terminal_as_a_command(cli: Cli) -> None:
    with open_store(cli.url) as store:
        StateMachinePersister(store).save_state(
            "x", {"[bold]": "\x1b[31m\x9b2J:smile:"}, expected=0, changed_by="\x1b]0;owned\x07", reason="[red]r[/red]"
        )
    for text in (cli("show", "x").out, cli("history", "x").out):
        assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in text)
        assert "[bold]" in text
        assert ":smile:" in text
        assert "[red]r[/red]" in text
