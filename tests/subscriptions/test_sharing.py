"""Members of a shared subscription that are killed: every event is handled, each stream in order, by one at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from eventstate import ANY, StateMachinePersister, open_store
from tests.subscriptions.member import TTL_SECONDS
from tests.subscriptions.party import ROOT

STREAMS = 24
MEMBERS = 3


class Line(NamedTuple):
    """What a member has noted."""

    at: float
    what: str
    process: int
    state_id: str
    version: int
    token: str


def start(url: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.subscriptions.member", url, str(folder / "log"), str(folder / "stop")]
    return subprocess.Popen(command, cwd=ROOT)


def lines_of(log: Path) -> list[Line]:
    return [Line(*json.loads(line)) for line in log.read_bytes().splitlines()] if log.exists() else []


def handled(lines: Sequence[Line]) -> set[tuple[str, int]]:
    return {(line.state_id, line.version) for line in lines if line.what == "ends"}


def check(lines: Sequence[Line], wanted: set[tuple[str, int]]) -> None:
    assert handled(lines) == wanted
    for state_id in {line.state_id for line in lines}:
        of_stream = sorted(line for line in lines if line.state_id == state_id)
        firsts: list[int] = []
        open_by: int | None = None
        for line in of_stream:
            if line.what == "begins":
                # One that was killed never ends; whoever took over has another lock.
                open_by = line.process
                if line.version not in firsts:
                    firsts.append(line.version)
            else:
                assert open_by == line.process, f"two members worked on {state_id} at once"
        assert firsts == sorted(firsts), f"{state_id} was not handled in order"


def soak(url: str, folder: Path, *, events: int, kills: int, timeout: float) -> None:
    random = Random(7)
    members = [start(url, folder) for _ in range(MEMBERS)]
    wanted: set[tuple[str, int]] = set()
    try:
        with open_store(url) as store:
            persister = StateMachinePersister(store, governor="g")
            pause = TTL_SECONDS
            due, left = time.monotonic() + pause, kills
            deadline = time.monotonic() + timeout
            while len(wanted) < events or left or handled(lines_of(folder / "log")) != wanted:
                assert time.monotonic() < deadline, (
                    f"{len(wanted - handled(lines_of(folder / 'log')))} were not handled"
                )
                if len(wanted) < events:
                    state = persister.save_state(f"m-{random.randrange(STREAMS)}", {}, expected=ANY)
                    wanted.add((state.id, state.version))
                    time.sleep(kills * pause / events)
                else:
                    time.sleep(0.2)
                if left and time.monotonic() > due and handled(lines_of(folder / "log")):
                    number = random.randrange(MEMBERS)
                    members[number].kill()
                    members[number].wait()
                    members[number] = start(url, folder)
                    due, left = time.monotonic() + pause, left - 1
        (folder / "stop").touch()
        assert [member.wait(60) for member in members] == [0] * MEMBERS
    finally:
        for member in members:
            member.kill()
            member.wait()
    check(lines_of(folder / "log"), wanted)


@pytest.mark.serial
@pytest.mark.timeout(300)
@pytest.mark.backend("sqlite")
def test_a_member_that_is_killed_is_replaced(sqlite_url: str, tmp_path: Path) -> None:
    soak(f"{sqlite_url}?durability=off", tmp_path, events=200, kills=1, timeout=200)


@pytest.mark.serial
@pytest.mark.torture
@pytest.mark.timeout(1200)
@pytest.mark.backend("sqlite")
def test_members_are_killed_again_and_again(sqlite_url: str, tmp_path: Path) -> None:
    soak(f"{sqlite_url}?durability=off", tmp_path, events=3000, kills=20, timeout=900)
