"""Writers killed at any moment: all that was acknowledged is there, once, in order, and the rest can be settled."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pytest

from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from tests.crash import kill_writer
from tests.crash.kill_writer import Command, acknowledge, chained, open_kills, persister_on

pytestmark = [pytest.mark.serial, pytest.mark.backend("sqlite")]

ROOT = Path(__file__).parents[2]


class Acknowledged(NamedTuple):
    key: str
    stream: str
    version: int
    digest: str


@dataclass(frozen=True)
class Said:
    """What the writers said: what they began, and what was acknowledged to them."""

    begun: frozenset[str]
    acknowledged: tuple[Acknowledged, ...]

    @property
    def in_flight(self) -> list[str]:
        """Commands without an answer, by the order they were begun in."""
        return sorted(self.begun - {said.key for said in self.acknowledged})


@dataclass(frozen=True)
class Found:
    """What the store holds: versions and marks by stream, the positions of all entries, what verification says."""

    streams: dict[str, list[tuple[int, str]]]
    positions: list[int]
    findings: list[str] = field(default_factory=list)


def read_logs(folder: Path) -> Said:
    begun: set[str] = set()
    acknowledged: list[Acknowledged] = []
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text().splitlines():
            words = line.split(" ")
            if words[0] == "begin":
                begun.add(words[1])
            else:
                acknowledged.append(Acknowledged(words[1], words[2], int(words[3]), words[4]))
    return Said(frozenset(begun), tuple(acknowledged))


def read_store(store: Store) -> Found:
    persister = persister_on(store)
    report = persister.validate_consistency()
    streams = {item.id: [(t.version, t.data.mark) for t in persister.history(item.id)] for item in persister.recover()}
    positions: list[int] = []
    after = 0
    while page := drive(store.feed(after)).entries:
        positions += [position for position, _ in page]
        after = positions[-1]
    return Found(streams, positions, [f"{f.where}: {f.problem}" for f in report.findings])


def violations(said: Said, found: Found) -> list[str]:
    """Everything that must not be; empty for a sound store."""
    wrong = list(found.findings)
    if found.positions != list(range(1, len(found.positions) + 1)):
        wrong.append("positions have gaps or are out of order")
    marks: Counter[str] = Counter()
    digests: dict[tuple[str, int], tuple[str, str]] = {}
    for stream, events in found.streams.items():
        digest = ""
        for place, (version, mark) in enumerate(events, 1):
            if version != place:
                wrong.append(f"{stream}: version {version} at place {place}")
            digest = chained(digest, mark)
            digests[stream, version] = (digest, mark)
            marks[mark] += 1
    wrong += [f"{mark} is there {count} times" for mark, count in marks.items() if count > 1]
    wrong += [f"{mark} was never begun" for mark in marks if mark.partition("/")[0] not in said.begun]
    for key, stream, version, acknowledged in said.acknowledged:
        digest, mark = digests.get((stream, version), ("", ""))
        if not mark:
            wrong.append(f"{key}: acknowledged at {stream} version {version}, and lost")
        elif mark.partition("/")[0] != key:
            wrong.append(f"{key}: acknowledged at {stream} version {version}, where {mark} is")
        elif digest != acknowledged:
            wrong.append(f"{key}: the history before {stream} version {version} is another than acknowledged")
    return wrong


def settle(folder: Path, store: Store, keys: list[str]) -> tuple[int, list[str]]:
    """Repeat commands of unknown outcome under their keys; how many were there, and what was not as it must be."""
    persister = persister_on(store)
    wrong: list[str] = []
    there = 0
    before = Counter(mark.partition("/")[0] for events in read_store(store).streams.values() for _, mark in events)
    log = os.open(folder / "settled.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for key in keys:
        command = Command(key)
        states = command.run(persister)
        acknowledge(log, command, states)
        again = command.run(persister)
        if [(s.id, s.version, s.data) for s in again] != [(s.id, s.version, s.data) for s in states]:
            wrong.append(f"{key}: repeated twice with two results")
        there += before[key] > 0
    os.close(log)
    after = Counter(mark.partition("/")[0] for events in read_store(store).streams.values() for _, mark in events)
    sizes = {0: 1, 1: 1, 2: 3, 3: 3}
    for key in keys:
        size = sizes[Command(key).number % 4]
        if before[key] not in (0, size):
            wrong.append(f"{key}: {before[key]} of {size} events were there, half a commit")
        if after[key] != size:
            wrong.append(f"{key}: {after[key]} events instead of {size} after it was repeated")
    return there, wrong


class Tally(NamedTuple):
    """Sums over a run."""

    kills: int = 0
    acknowledged: int = 0
    settled: int = 0
    landed: int = 0

    def __add__(self, other: object) -> Tally:
        assert isinstance(other, Tally)
        return Tally(*(one + more for one, more in zip(self, other, strict=True)))


class Killer:
    """The process that forks and kills writers."""

    def __init__(self) -> None:
        command = [sys.executable, "-X", "utf8", kill_writer.__file__]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def kill(self, folder: Path, kills: int, seed: int) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder} {kills} {seed}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the killer itself ended"
        return int(answer)

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture
def killer() -> Iterator[Killer]:
    opened = Killer()
    yield opened
    opened.close()


def verified(folder: Path, seed: int) -> Tally:
    """Hold the store against what its writers said, and settle what is open."""
    errors = folder / "errors.txt"
    assert not errors.exists(), f"seed {seed}: a writer failed\n{errors.read_text()}"
    said = read_logs(folder)
    with open_kills(folder) as store:
        wrong = violations(said, read_store(store))
        assert wrong == [], f"seed {seed}"
        open_keys = said.in_flight
        landed, wrong = settle(folder, store, open_keys)
        assert wrong == [], f"seed {seed}"
        said = read_logs(folder)
        wrong = violations(said, read_store(store))
        assert wrong == [], f"seed {seed}, after settling"
        assert said.in_flight == []
    return Tally(0, len({a.key for a in said.acknowledged}), len(open_keys), landed)


def kill_many(killer: Killer, folder: Path, stores: int, rounds: int, kills: int) -> Tally:
    """So many stores one after another, each with rounds of kills and a verification after each."""
    total = Tally()
    seed = random.randrange(10**9)
    for store in range(stores):
        own = folder / f"store-{store}"
        own.mkdir()
        tally = Tally()
        for number in range(rounds):
            done = killer.kill(own, kills, seed + number)
            checked = verified(own, seed + number)
            tally = tally._replace(
                kills=tally.kills + done,
                acknowledged=checked.acknowledged,
                settled=tally.settled + checked.settled,
                landed=tally.landed + checked.landed,
            )
        total += tally
    return total


def test_300_kills_of_3_writers(killer: Killer, fast_folder: Path) -> None:
    began = time.monotonic()
    total = kill_many(killer, fast_folder, stores=3, rounds=2, kills=52)
    print(f"{total} in {time.monotonic() - began:.1f} s")
    assert total.kills >= 300
    assert total.acknowledged > total.kills
    assert total.settled >= 100, "the kills met hardly any command in flight"
    assert 0 < total.landed < total.settled, "all or none of the commands in flight had landed: no kill was in between"


@pytest.mark.torture
def test_5000_kills(killer: Killer, fast_folder: Path) -> None:
    total = kill_many(killer, fast_folder, stores=25, rounds=4, kills=50)
    print(total)
    assert total.kills >= 5000
    assert 0 < total.landed < total.settled


# The checker can fail


def sound() -> tuple[Said, Found]:
    keys = [f"a0.1.{number}" for number in range(6)]
    events = [(version, f"{key}/0") for version, key in enumerate(keys, 1)]
    acknowledged: list[Acknowledged] = []
    digest = ""
    for version, mark in events:
        digest = chained(digest, mark)
        acknowledged.append(Acknowledged(mark[:-2], "ledger-a0", version, digest))
    return Said(frozenset(keys), tuple(acknowledged)), Found({"ledger-a0": events}, list(range(1, 7)))


def test_a_sound_store_has_no_violations() -> None:
    assert violations(*sound()) == []


def test_the_checker_sees_what_is_lost() -> None:
    said, found = sound()
    events = found.streams["ledger-a0"]
    cut = replace(found, streams={"ledger-a0": events[:-1]}, positions=found.positions[:-1])
    assert any("version 6, and lost" in line for line in violations(said, cut))
    hole = [*events[:2], *((version - 1, mark) for version, mark in events[3:])]
    closed = replace(found, streams={"ledger-a0": hole}, positions=found.positions[:-1])
    assert len(violations(said, closed)) >= 4  # also where another has taken its place
    gap = replace(found, streams={"ledger-a0": [*events[:2], *events[3:]]})
    assert any("at place" in line for line in violations(said, gap))
    assert any("lost" in line for line in violations(said, replace(found, streams={})))


def test_the_checker_sees_what_is_there_twice_or_was_never_sent_or_was_changed() -> None:
    said, found = sound()
    events = found.streams["ledger-a0"]
    twice = replace(found, streams={"ledger-a0": [*events, (7, events[0][1])]})
    assert violations(said, twice) == ["a0.1.0/0 is there 2 times"]
    ghost = replace(found, streams={"ledger-a0": [*events, (7, "z9.1.1/0")]})
    assert violations(said, ghost) == ["z9.1.1/0 was never begun"]
    changed = replace(found, streams={"ledger-a0": [(1, "a0.1.0/1"), *events[1:]]})
    assert len([line for line in violations(said, changed) if "another than acknowledged" in line]) == 6
    assert violations(said, replace(found, positions=[1, 2, 3, 4, 6, 5])) != []
    assert violations(said, replace(found, positions=[2, 3, 4, 5, 6, 7])) != []
    assert violations(said, replace(found, findings=["head x: bad"])) == ["head x: bad"]


def test_the_checker_sees_a_doctored_log_of_a_real_run(killer: Killer, fast_folder: Path) -> None:
    """Acknowledge one version too many, or another content, and it is reported."""
    killer.kill(fast_folder, 6, seed=1)
    said = read_logs(fast_folder)
    with open_kills(fast_folder) as store:
        found = read_store(store)
    assert violations(said, found) == []
    first = said.acknowledged[0]
    beyond = first._replace(version=len(found.streams[first.stream]) + 1)
    for doctored in (beyond, first._replace(digest="0" * 16), first._replace(key="a0.0.0")):
        assert violations(replace(said, acknowledged=(*said.acknowledged, doctored)), found) != []
    stream = found.streams[first.stream]
    shorter = {**found.streams, first.stream: [event for event in stream if event[0] != first.version]}
    assert any("lost" in line or "place" in line for line in violations(said, replace(found, streams=shorter)))
