"""Following events and looking after subscriptions on the command line."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from eventstate import ANY, StateMachinePersister, Subscription, open_store
from tests.cli.conftest import Cli


def test_what_is_there_is_shown_once(shop: Cli) -> None:
    *events, mark = shop("tail", "--from", "beginning", "--once", "--json").lines
    assert [(e["state_id"], e["version"], e["action"]) for e in events][:3] == [
        ("order-1", 1, "Placed"),
        ("order-1", 2, "Paid"),
        ("order-2", 1, "Placed"),
    ]
    assert events[0]["metadata"]["changed_by"] == "kim"
    assert [e["position"] for e in events] == sorted(e["position"] for e in events)
    assert mark == {"caught_up": str(events[-1]["position"])}
    text = shop("tail", "--from", "beginning", "--once").out
    assert "order-1 1 Placed by kim" in text
    assert shop("tail", "--once").out == ""


def test_what_is_shown_can_be_chosen(shop: Cli) -> None:
    def told(*arguments: str) -> list[str]:
        lines = shop("tail", "--from", "beginning", "--once", "--json", *arguments).lines
        return [f"{e['state_id']}@{e['version']}" for e in lines if "state_id" in e]

    assert told("doc") == ["doc@1", "doc@2"]
    assert told("doc", "--from", "1") == ["doc@2"]
    assert told("--machine", "order", "--action", "Placed") == ["order-1@1", "order-2@1"]
    assert told("--limit", "2") == ["order-1@1", "order-1@2"]
    assert told("--action", "nothing") == []
    assert told("--from", "3") == ["doc@2", "gone@1", "gone@2"]
    assert shop("tail", "--once", "--governor", "nobody").out == ""
    assert "no place" in shop("tail", "--from", "yesterday", "--once", code=2).err


@pytest.fixture
def live(shop: Cli) -> Iterator[subprocess.Popen[str]]:
    """A tail in another process, once it has caught up."""
    command = [sys.executable, "-m", "eventstate", "tail", "--json", "--url", shop.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(60, process.kill)
        timer.start()
        assert process.stdout is not None
        assert "caught_up" in process.stdout.readline()
        yield process
        timer.cancel()
        process.kill()


def test_what_another_process_commits_is_shown_at_once(shop: Cli, live: subprocess.Popen[str]) -> None:
    assert live.stdout is not None
    with open_store(shop.url) as store:
        persister = StateMachinePersister(store)
        for number in range(3):
            persister.save_state("new", {"n": number}, expected=ANY)
            assert f'"version":{number + 1}' in live.stdout.readline()


def test_subscriptions_are_listed_and_deleted(shop: Cli) -> None:
    def fail_at_docs(delivery: object) -> None:
        if "doc" in repr(delivery):
            raise ValueError("no docs")

    with open_store(shop.url) as store:
        persister = StateMachinePersister(store)
        with Subscription(persister, "mails", attempts=1) as mails:
            mails.run(fail_at_docs, until_caught_up=True)
        with Subscription(persister, "orders", machines=["order"]) as orders:
            next(orders.deliveries())
        with Subscription(persister, "one", state_id="doc", actions=["edited"], start=1) as one:
            next(one.deliveries())
    found = {line["name"]: line for line in shop("subscriptions", "--json").lines}
    assert (found["mails"]["behind"], found["mails"]["parked"], found["mails"]["order"]) == (0, 2, "store")
    assert (found["orders"]["machines"], found["orders"]["place"]) == (["order"], "0")
    assert found["orders"]["behind"] > 0
    assert (found["one"]["state_id"], found["one"]["behind"]) == ("doc", 1)
    table = shop("subscriptions").out
    assert "machines order" in table
    assert "doc; actions edited" in table
    parked = shop("subscription", "parked", "mails", "--json").lines
    assert [(p["state_id"], p["version"], p["problem"]) for p in parked] == [
        ("doc", 1, "ValueError: no docs"),
        ("doc", 2, "ValueError: no docs"),
    ]
    assert "no docs" in shop("subscription", "parked", "mails").out
    assert shop("subscription", "delete", "mails", "--yes", "--json").json == {"deleted": "mails"}
    assert "mails" not in shop("subscriptions").out
    assert "'mails'" in shop("subscription", "delete", "mails", "--yes", code=3).err
    assert "is forgotten" in shop("subscription", "delete", "one", "--yes").out
