"""firestore init, indexes, emulator: with a gcloud of our own on PATH, and with none."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventstate.cli.firestore.indexes import FILE, declared
from tests.cli.conftest import Cli

GCLOUD = """#!{python}
import json, os, signal, sys, time
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(arguments) + "\\n")
words = " ".join(arguments)
if {failing!r} and {failing!r} in words:
    sys.stderr.buffer.write({problem!r})
    sys.exit(3) if {killed!r} == 0 else os.kill(os.getpid(), {killed!r})
if "emulators" in words:
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print("emulator at", words.rpartition("=")[2], flush=True)
        if {patient!r}:
            time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.6)
        print("emulator ended", flush=True)
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a gcloud on PATH that notes its arguments, and fails at those that hold some words; its notes."""

    def put(failing: str = "", problem: bytes = b"ERROR: denied", killed: int = 0, patient: bool = False) -> Path:
        log, folder = tmp_path / "gcloud.log", tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "gcloud"
        members = {"failing": failing, "problem": problem, "killed": killed, "patient": patient}
        program.write_text(GCLOUD.format(python=sys.executable, log=str(log), **members))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        log.unlink(missing_ok=True)
        return log

    return put


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No gcloud on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def calls(log: Path) -> list[list[str]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


INIT = ("firestore", "init", "--project", "acme", "--location", "eur3")
INDEXES = ("firestore", "indexes", "--project", "acme")
ENABLE = ["services", "enable", "firestore.googleapis.com", "--project=acme", "--quiet"]
CREATE = ["firestore", "databases", "create", "--location=eur3", "--type=firestore-native"]
DATABASE = ["--database=(default)", "--project=acme", "--quiet"]


def test_init_makes_a_protected_database(cli: Cli, install: Install) -> None:
    log = install()
    ran = cli(*INIT)
    assert calls(log) == [ENABLE, [*CREATE, "--enable-pitr", "--delete-protection", *DATABASE]]
    assert [line.split(":")[0] for line in ran.out.splitlines()] == ["done", "done"]


def test_a_dry_run_shows_what_would_be_run(cli: Cli, nowhere: None) -> None:
    lines = cli(*INIT, "--no-pitr", "--no-delete-protection", "--database", "db 1", "--dry-run").out.splitlines()
    assert [shlex.split(line) for line in lines] == [
        ["gcloud", *ENABLE],
        ["gcloud", *CREATE, "--database=db 1", "--project=acme", "--quiet"],
    ]
    assert cli(*INDEXES, "--dry-run", "--json").json["commands"][0]["outcome"] == "not run"
    shown = cli("firestore", "emulator", "--port", "9090", "--dry-run").out
    assert shown == "gcloud emulators firestore start --host-port=127.0.0.1:9090\n"


def test_the_project_of_a_url(cli: Cli) -> None:
    url = ["--url", "firestore://acme/main"]
    line = cli.run(["firestore", "indexes", "--dry-run", *url], 0).out.splitlines()[0]
    assert "--database=main --project=acme" in line
    line = cli.run(["firestore", "indexes", "--dry-run", "--database", "other", *url], 0).out.splitlines()[0]
    assert "--database=other --project=acme" in line
    for project, database in (("acme", "main"), ("else", "'--database=(default)'")):
        line = cli.run(["firestore", "indexes", "--dry-run", "--project", project, *url], 0).out.splitlines()[0]
        assert database in line
    assert cli("firestore", "indexes", "--project", "", "--dry-run", code=2), "a variable of a shell that is not set"
    assert cli("firestore", "indexes", "--dry-run", "--json", code=2).error["type"] == "ConfigurationError"


def test_indexes_are_those_that_the_package_declares(cli: Cli, install: Install) -> None:
    log = install()
    ran: dict[str, Any] = cli(*INDEXES, "--json").json
    made = calls(log)
    assert made[0] == [
        *("firestore", "indexes", "composite", "create", "--collection-group=events"),
        *("--query-scope=collection-group", "--field-config=field-path=shard,order=ascending"),
        *("--field-config=field-path=at,order=ascending", "--async", *DATABASE),
    ]
    assert {(call[4], call[5]) for call in made[1:]} == {
        (field["fieldPath"], f"--collection-group={field['collectionGroup']}") for field in declared()["fieldOverrides"]
    }
    assert all(call[:4] == ["firestore", "indexes", "fields", "update"] for call in made[1:])
    assert [shlex.split(item["command"])[1:] for item in ran["commands"]] == made
    assert {item["outcome"] for item in ran["commands"]} == {"done"}


def test_the_package_and_the_project_declare_the_same() -> None:
    root = Path(__file__).parents[2] / FILE
    assert json.loads(root.read_text()) == declared()


def test_what_exists_already_is_left(cli: Cli, install: Install) -> None:
    log = install("composite", b"ERROR: (gcloud.firestore) ALREADY_EXISTS: index already exists")
    ran = cli(*INDEXES, "--json").json
    assert [item["outcome"] for item in ran["commands"]][:2] == ["there already", "done"]
    assert len(calls(log)) == len(ran["commands"])


def test_a_failure_ends_it(cli: Cli, install: Install) -> None:
    log = install("services", b"ERROR: (gcloud.services.enable) PERMISSION_DENIED: who are you? \xff")
    error = cli(*INIT, "--json", code=5).error
    assert error["type"] == "ProgramFailedError"
    assert "PERMISSION_DENIED" in error["message"]
    assert "services enable" in error["message"]
    assert len(calls(log)) == 1


def test_without_gcloud(cli: Cli, nowhere: None) -> None:
    for command in (INIT, INDEXES, ("firestore", "emulator")):
        error = cli(*command, "--json", code=5).error
        assert error["type"] == "ProgramMissingError"
        assert "install the Google Cloud CLI" in error["message"]
        assert "--dry-run" in error["message"]


def test_a_gcloud_that_can_not_be_run(cli: Cli, install: Install, tmp_path: Path) -> None:
    install()
    (tmp_path / "bin" / "gcloud").write_text("#!/nowhere/python\n")
    for command in (INIT, ("firestore", "emulator")):
        assert '"type":"ProgramFailedError"' in cli(*command, "--json", code=5).err


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What is started heeds SIGINT, even if these tests do not, as what a shell starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_emulator_that_is_stopped_ends_first(install: Install, stop: signal.Signals, code: int) -> None:
    install(patient=True)
    command = [sys.executable, "-m", "eventstate", "firestore", "emulator", "--port", "9192"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "emulator at 127.0.0.1:9192\n"
        if stop == signal.SIGINT:  # as a terminal tells everybody in front
            os.killpg(process.pid, stop)
        else:
            process.send_signal(stop)
        assert process.stdout.read() == "emulator ended\n"
        assert process.wait(60) == code


def test_an_emulator_that_is_killed_has_failed(install: Install) -> None:
    install("emulators", killed=signal.SIGKILL)
    command = [sys.executable, "-m", "eventstate", "firestore", "emulator", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 5
    assert "ProgramFailedError" in ran.stderr


def test_the_emulator_runs_in_front(install: Install) -> None:
    log = install()
    command = [sys.executable, "-m", "eventstate", "firestore", "emulator", "--port", "9191"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "emulator at 127.0.0.1:9191\n")
    assert ran.stderr == "export FIRESTORE_EMULATOR_HOST=127.0.0.1:9191\n"
    assert calls(log) == [["emulators", "firestore", "start", "--host-port=127.0.0.1:9191"]]
    install("emulators")
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 5
    assert "denied" in ran.stderr
