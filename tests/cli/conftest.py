"""A store with something in it, and the command line run in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from eventstate import StateMachinePersister, open_store
from eventstate.cli.app import app
from tests.cli.shop import ORDERS, Paid, Placed


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err)["error"]


class Cli:
    """Runs commands on one store."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, *arguments: str, code: int = 0) -> Ran:
        """Run a command with ``--url`` and expect this exit code."""
        return self.run([*arguments, "--url", self.url], code)

    def run(self, arguments: Sequence[str], code: int, env: Mapping[str, str | None] | None = None) -> Ran:
        result = CliRunner(
            env={"EVENTSTATE_DEBUG": None, "EVENTSTATE_URL": None, "COLUMNS": None, **(env or {})}
        ).invoke(app, arguments, prog_name="eventstate")
        assert result.exit_code == code, f"{result.exit_code}\n{result.stdout}\n{result.stderr}"
        return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def cli(sqlite_url: str) -> Cli:
    return Cli(sqlite_url)


@pytest.fixture
def store_file(tmp_path: Path) -> Path:
    """The file of ``sqlite_url``."""
    return tmp_path / "store.db"


@pytest.fixture
def shop(cli: Cli) -> Cli:
    """A store with two typed orders, a plain document with a history, and a deleted one."""
    with open_store(cli.url) as store:
        persister = StateMachinePersister(store, machines=[ORDERS])
        persister.append(ORDERS, "1", Placed("ada"), Paid(100), expected=0, changed_by="kim", reason="checkout")
        persister.append(ORDERS, "2", Placed("bob"), expected=0)
        persister.save_state("doc", {"a": 1}, expected=0)
        persister.update_state("doc", {"a": 2}, expected=1, action="edited", context={"from": "web"})
        persister.save_state("gone", 1, expected=0)
        persister.delete_state("gone", expected=1)
    return cli
