"""What somebody in front of a terminal sees: progress, which never mixes with the data."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")


def on_terminal(*arguments: str) -> tuple[str, str]:
    """Standard output, and what a terminal at standard error was sent."""
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "eventstate", *arguments]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=secondary, env=environment) as process:
        os.close(secondary)
        sent = bytearray()
        while True:
            try:
                part = os.read(primary, 65536)
            except OSError:  # the last process let go of the terminal
                break
            sent += part
            if not part:
                break
        assert process.stdout is not None
        out = process.stdout.read().decode()
    os.close(primary)
    assert process.returncode == 0, sent.decode()
    return out, sent.decode()


def test_an_import_shows_how_far_it_is(cli: Cli, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("id,what\n" + "".join(f"s{n % 999},made\n" for n in range(10_000)))
    out, shown = on_terminal("import", str(log), "--state-id", "id", "--action", "what", "--url", cli.url)
    assert out.startswith(f"{log}: 10,000 rows into 999 streams")
    assert "importing" in shown
    assert "/10000" in shown
    assert "rows/s" in shown


@pytest.mark.parametrize(("command", "doing"), [("verify", "verifying streams"), ("recover", "recovering")])
def test_long_checks_count(shop: Cli, command: str, doing: str) -> None:
    out, shown = on_terminal(command, "--json", "--url", shop.url)
    assert out.startswith("{")
    assert doing in shown


@pytest.mark.serial
def test_the_demonstration_counts_kills() -> None:
    out, shown = on_terminal("demo", "--seconds", "1", "--json")
    assert '"is_good":true' in out
    assert "acknowledged appends" in shown
