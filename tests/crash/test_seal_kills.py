"""Sealers and verifications that are killed: nothing is doubled, nothing is left half, and work is not done again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from eventstate import AppendTo, Event, SealManager, StateMachinePersister, open_store

SECONDS = 60.0
STREAMS = 1_000


VERIFYING = """
import sys
from eventstate.cli import main
from eventstate.cli.resuming import ResumeFile

write = ResumeFile.write

def told(self, report):
    write(self, report)
    print("kept", file=sys.stderr, flush=True)
    sys.stdin.readline()

ResumeFile.write = told
main()
"""
"""The command line, with a verification that says when it has noted how far it is, and waits for a word."""


def start(*arguments: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], **pipes)


def kill(process: subprocess.Popen[str]) -> str:
    """End it at once; what it had printed."""
    process.send_signal(signal.SIGKILL)
    return process.communicate(timeout=SECONDS)[0]


def kill_sealers(file: Path, kills: int) -> None:
    choose = Random(7)
    writers = [start("-m", "tests.crash.seal_worker", "write", str(file), name) for name in "ab"]
    printed: list[int] = []
    try:
        for _ in range(kills):
            sealer = start("-m", "tests.crash.seal_worker", "seal", str(file), "s")
            assert sealer.stdout is not None
            sealer.stdout.readline()  # it is at work
            time.sleep(choose.uniform(0, 0.05))
            printed += map(int, kill(sealer).split())
        assert all(writer.poll() is None for writer in writers), "a writer has failed"
    finally:
        for writer in writers:
            kill(writer)
    with open_store(f"sqlite:///{file}") as store:
        seals = SealManager(store)
        last = seals.seal()
        numbers = [seal.number for seal in seals.list_seals()]
        assert numbers == list(range(1, last.number + 1))
        assert last.number > kills
        assert set(printed) <= set(numbers), "a seal that was acknowledged is gone"
        report = StateMachinePersister(store).validate_consistency()
        assert report.findings == []
        assert report.sealed_streams == report.total_streams == last.streams


@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_sealers_that_are_killed_beside_writers(fast_folder: Path) -> None:
    kill_sealers(fast_folder / "kills.db", 5)


@pytest.mark.torture
@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_sealers_that_are_killed_beside_writers_again_and_again(fast_folder: Path) -> None:
    kill_sealers(fast_folder / "kills.db", 100)


@pytest.fixture
def many(fast_folder: Path) -> Path:
    """A sealed store of many streams."""
    file = fast_folder / "many.db"
    with open_store(f"sqlite:///{file}?durability=off") as store:
        persister = StateMachinePersister(store)
        ids = [f"doc-{n:05}" for n in range(STREAMS)]
        for begin in range(0, STREAMS, 100):
            saved = (AppendTo(id, Event("saved", state={"id": id}), expected=0) for id in ids[begin : begin + 100])
            persister.append_together(*saved)
        SealManager(store).seal()
    return file


@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_a_killed_verification_goes_on_where_it_was(many: Path, fast_folder: Path) -> None:
    progress = fast_folder / "progress.json"
    command = ("-c", VERIFYING, "verify", "--json", "--url", f"sqlite:///{many}", "--resume", str(progress))
    choose = Random(7)

    def position() -> int:
        if not progress.exists():
            return 0
        return json.loads(progress.read_bytes())["report"]["total_streams"]

    seen = 0
    for _ in range(4):
        process = start(*command)
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "kept\n"
        if choose.random() < 0.5:  # on its way to the next
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(choose.uniform(0, 0.01))
        assert kill(process) == "", "it came to its end before it was killed"
        assert position() > seen
        seen = position()
    done = subprocess.run(
        [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=SECONDS, check=True
    )
    report = json.loads(done.stdout)
    assert (report["streams"], report["sealed"], report["events"]) == (STREAMS, STREAMS, STREAMS)
    assert report["is_consistent"]
    assert not progress.exists()
