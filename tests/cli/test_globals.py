"""Global options, help, and what is said when something can't run."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_global_options_go_before_and_after_the_command(shop: Cli) -> None:
    before = shop.run(["--url", shop.url, "--json", "--machines", "tests.cli.shop:ORDERS", "show", "order-2"], 0)
    after = shop.run(["show", "order-2", "--url", shop.url, "--json", "--machines", "tests.cli.shop:ORDERS"], 0)
    assert before.json == after.json
    assert before.json["legal_actions"] == ["Paid"]


def test_the_later_option_wins(shop: Cli) -> None:
    other = f"{shop.url}.other"
    shop.run(["--url", other, "--governor", "other", "show", "doc", "--url", shop.url, "--governor", "default"], 0)
    shop.run(["--url", shop.url, "show", "doc", "--url", other], 5)


def test_the_store_from_the_environment(shop: Cli) -> None:
    there = {"EVENTSTATE_URL": shop.url}
    assert shop.run(["governors"], 0, env=there).out == "default\n"
    shop.run(["governors", "--url", f"{shop.url}.other"], 5, env=there)


def test_a_store_that_is_only_looked_at_is_not_made(cli: Cli, store_file: Path) -> None:
    for command in (["list"], ["show", "x"], ["verify"], ["recover"], ["stats"], ["governors"], ["backup", "x.db"]):
        failed = cli(*command, "--json", code=5)
        assert failed.error["type"] == "StoreUnavailableError"
        assert "there is no file" in failed.error["message"]
    assert not store_file.exists()


@pytest.mark.parametrize("name", ["ORDERS", "LISTED", "NAMED"])
def test_machines_alone_in_lists_and_in_dicts(shop: Cli, name: str) -> None:
    assert shop("show", "order-2", "--json", "--machines", f"tests.cli.shop:{name}").json["legal_actions"] == ["Paid"]


def test_machines_named_twice_are_one(shop: Cli) -> None:
    shop("show", "order-2", "--machines", "tests.cli.shop:ORDERS", "--machines", "tests.cli.shop:LISTED")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tests.cli.shop", "write package.module:name"),
        ("tests.cli.nix:ORDERS", "ModuleNotFoundError"),
        ("tests.cli.shop:NIX", "has no 'NIX'"),
        ("tests.cli.shop:NOT_A_MACHINE", "is no Machine"),
    ],
)
def test_machines_that_can_not_be_had(shop: Cli, text: str, problem: str) -> None:
    failed = shop("show", "order-2", "--machines", text, code=2)
    assert problem in failed.err
    assert failed.err.count("\n") == 1


def test_machines_from_the_current_folder(shop: Cli, tmp_path: Path) -> None:
    (tmp_path / "own_machines.py").write_text("from tests.cli.shop import ORDERS\n")
    ran = _process("show", "order-2", "--json", "--url", shop.url, "--machines", "own_machines:ORDERS", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert '"legal_actions":["Paid"]' in ran.stdout


def test_an_error_in_the_callers_own_code_is_one_line(shop: Cli) -> None:
    broken = ("show", "order-2", "--machines", "tests.cli.shop:FAILING")
    failed = shop(*broken, code=70)
    place = "evolve of machine 'order' raised this at event default/order-2 version 1 (Placed)"
    assert failed.err == f"error: unexpected KeyError: 'missing key'; {place}; EVENTSTATE_DEBUG=1 shows where\n"
    debugged = shop.run([*broken, "--url", shop.url], 70, env={"EVENTSTATE_DEBUG": "1"})
    assert "Traceback" in debugged.err


def test_help_lists_commands_and_exit_codes(cli: Cli) -> None:
    text = cli.run(["--help"], 0).out
    for word in ("import", "verify", "--governor", "Exit codes: 0 done", "5 the"):
        assert word in text
    assert "--governor" in cli.run(["show", "--help"], 0).out


def test_help_says_whose_jobs_are_meant(cli: Cli) -> None:
    text = cli("watch", "--help").out
    assert "for jobs 'jobs'" in " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    "arguments", [["nix"], ["show"], ["show", "a", "b"], ["list", "--limit", "x"], ["show", "--nix"]]
)
def test_wrong_usage(cli: Cli, arguments: list[str]) -> None:
    assert cli.run(arguments, 2).out == ""


def test_wrong_urls(cli: Cli) -> None:
    for url in ("nix", "nix://x", "sqlite://", "sqlite:///x?nix=1"):
        code = 5 if url.startswith("sqlite:///") else 2
        cli.run(["import", __file__, "--state-id", "a", "--action", "b", "--url", url], 2)
        cli.run(["list", "--url", url], code)


def test_the_version(cli: Cli) -> None:
    assert cli.run(["--version"], 0).out.startswith("eventstate 0.")


def test_as_a_module_it_is_the_same_program() -> None:
    ran = _process("--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("eventstate 0.")


@pytest.mark.parametrize(
    ("words", "completed"),
    [("eventstate pru", "prune"), ("eventstate queue can", "cancel"), ("eventstate jobs --wor", "--workstream")],
)
def test_shells_complete_words(words: str, completed: str) -> None:
    asked = {"_EVENTSTATE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ran = subprocess.run(
        [sys.executable, "-m", "eventstate"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **asked},
    )
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, [completed], "")


def test_the_completion_of_a_shell_is_installed_in_the_users_home(tmp_path: Path) -> None:
    # Which shell it is, it sees from the process that called it. With nothing to do afterwards bash would not stay.
    called = f"{shlex.quote(sys.executable)} -m eventstate --install-completion; exit $?"
    ran = subprocess.run(
        ["bash", "-c", called],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "complete_bash" in (tmp_path / ".bash_completions" / "eventstate.sh").read_text()


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from eventstate.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert ran.stderr == f"the command line needs {missing}: pip install 'eventstate[cli]'\n"


def test_a_reader_that_goes_away_is_no_error(shop: Cli) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "eventstate", "history", "doc", "--json", "--url", shop.url]
    try:
        ran = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    finally:
        os.close(write)
    assert (ran.returncode, ran.stderr) == (141, "")


def test_no_colours_where_nobody_sees_them(shop: Cli) -> None:
    for arguments in (["list"], ["show", "doc"], ["doctor"], ["--help"]):
        ran = _process(*arguments, "--url", shop.url) if arguments != ["--help"] else _process("--help")
        assert ran.returncode == 0
        assert "\x1b" not in ran.stdout + ran.stderr


def _process(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    command = [sys.executable, "-m", "eventstate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=environment)


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["show"], ["load", "x", "--at-version", "abc"], ["list", "--limit", "9" * 30], ["list", "--nope"]],
)
def test_wrong_usage_is_json_too_where_json_is_asked_for(arguments: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "eventstate", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    error = json.loads(ran.stderr)["error"]
    assert error["type"]
    assert error["message"]


def test_the_paragraphs_of_help_fill_their_lines() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "eventstate", "watch", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    lines = [line.strip() for line in ran.stdout.splitlines()]
    begin = next(number for number, line in enumerate(lines) if line.startswith("The table is of all"))
    paragraph = lines[begin : lines.index("", begin)]
    assert all(len(line) > 60 for line in paragraph[:-1]), paragraph
