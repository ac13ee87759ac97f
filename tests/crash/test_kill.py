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

from eventstate import ANY
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from tests.crash import kill_writer
from tests.crash.kill_writer import (
    ERRORS,
    Command,
    Written,
    acknowledge,
    chained,
    ledgers,
    note,
    open_kills,
    persister_on,
)

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

    @property
    def counts(self) -> Counter[str]:
        """How many events each command has in the store."""
        return Counter(command_of(mark) for events in self.streams.values() for _, mark in events)


def command_of(mark: str) -> str:
    return mark.partition("/")[0]


def read_logs(folder: Path) -> Said:
    """What all logs say; without a last line that a kill cut short."""
    begun: set[str] = set()
    acknowledged: list[Acknowledged] = []
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text().split("\n")[:-1]:
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
    wrong += [f"{mark} was never begun" for mark in marks if command_of(mark) not in said.begun]
    for key, stream, version, acknowledged in said.acknowledged:
        digest, mark = digests.get((stream, version), ("", ""))
        if not mark:
            wrong.append(f"{key}: acknowledged at {stream} version {version}, and lost")
        elif command_of(mark) != key:
            wrong.append(f"{key}: acknowledged at {stream} version {version}, where {mark} is")
        elif digest != acknowledged:
            wrong.append(f"{key}: the history before {stream} version {version} is another than acknowledged")
    return wrong


def repeat(folder: Path, store: Store, keys: list[str]) -> list[str]:
    """Run commands of unknown outcome again under their keys, twice; what was not as it must be."""
    persister = persister_on(store)
    wrong: list[str] = []
    log = os.open(folder / "repeated.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for key in keys:
        command = Command(key)
        states = command.run(persister)
        acknowledge(log, command, states)
        again = command.run(persister)
        if [(s.id, s.version, s.data) for s in again] != [(s.id, s.version, s.data) for s in states]:
            wrong.append(f"{key}: repeated twice with two results")
    os.close(log)
    return wrong


def unresolved(keys: list[str], before: Counter[str], after: Counter[str]) -> list[str]:
    """Commands in flight that were there in part, or are not there exactly once after they were repeated."""
    sizes = {key: Command(key).size for key in keys}
    halves = [f"{key}: {before[key]} of {size} events" for key, size in sizes.items() if before[key] not in (0, size)]
    return halves + [f"{key}: {after[key]} events, not {size}" for key, size in sizes.items() if after[key] != size]


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

    def kill(self, folder: Path, kills: int, seed: int, manner: str = "honest") -> int:
        """Let writers write and kill so many of them; how many it were, those killed at the end included."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder} {kills} {seed} {manner}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the killer itself ended"
        errors = folder / ERRORS
        assert not errors.exists(), f"seed {seed}: a writer failed\n{errors.read_text()}"
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
    said = read_logs(folder)
    in_flight = said.in_flight
    with open_kills(folder) as store:
        before = read_store(store)
        assert violations(said, before) == [], f"seed {seed}"
        assert repeat(folder, store, in_flight) == [], f"seed {seed}"
        after = read_store(store)
    said = read_logs(folder)
    assert said.in_flight == []
    assert violations(said, after) == [], f"seed {seed}, after what was in flight was repeated"
    assert unresolved(in_flight, before.counts, after.counts) == [], f"seed {seed}"
    landed = sum(before.counts[key] > 0 for key in in_flight)
    return Tally(0, len({a.key for a in said.acknowledged}), len(in_flight), landed)


def kill_many(killer: Killer, folder: Path, rounds: int, kills: int) -> Tally:
    """Rounds of kills of the writers of one store file, and a verification after each."""
    total = Tally()
    folder.mkdir()
    seed = random.randrange(10**9)
    for number in range(rounds):
        done = killer.kill(folder, kills, seed + number)
        checked = verified(folder, seed + number)
        total = total._replace(
            kills=total.kills + done,
            acknowledged=checked.acknowledged,
            settled=total.settled + checked.settled,
            landed=total.landed + checked.landed,
        )
    return total


def test_300_kills_of_3_writers(killer: Killer, fast_folder: Path) -> None:
    began = time.monotonic()
    total = kill_many(killer, fast_folder / "store", rounds=3, kills=100)
    print(f"{total} in {time.monotonic() - began:.1f} s")
    assert total.kills >= 300
    assert total.acknowledged > total.kills
    assert total.settled >= 100, "the kills met hardly any command in flight"
    assert 0 < total.landed < total.settled, "all or none of the commands in flight had landed: no kill was in between"


@pytest.mark.torture
def test_5000_kills(killer: Killer, fast_folder: Path) -> None:
    began = time.monotonic()
    total = sum((kill_many(killer, fast_folder / f"{n}", rounds=3, kills=100) for n in range(17)), start=Tally())
    print(f"{total} in {time.monotonic() - began:.1f} s")
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


def test_the_checker_sees_commands_resolved_in_part_or_twice() -> None:
    single, triple = "a0.1.4", "a0.1.3"
    assert unresolved([single, triple], Counter({triple: 3}), Counter({single: 1, triple: 3})) == []
    assert unresolved([triple], Counter({triple: 2}), Counter({triple: 3})) == [f"{triple}: 2 of 3 events"]
    assert unresolved([triple], Counter({triple: 3}), Counter({triple: 6})) == [f"{triple}: 6 events, not 3"]
    assert unresolved([single], Counter(), Counter()) == [f"{single}: 0 events, not 1"]


def test_a_line_cut_short_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.1.log").write_text("begin a0.1.0\nbegin a0.1.1\ndone a0.1.0 ledger-a0 1 0123")
    assert read_logs(tmp_path) == Said(frozenset({"a0.1.0", "a0.1.1"}), ())


def test_the_checker_sees_doctored_logs_and_stores_of_a_real_run(killer: Killer, fast_folder: Path) -> None:
    killer.kill(fast_folder, 10, seed=1)
    said = read_logs(fast_folder)
    with open_kills(fast_folder) as store:
        found = read_store(store)
        assert violations(said, found) == []
        first = said.acknowledged[0]
        beyond = first._replace(version=len(found.streams[first.stream]) + 1)
        for doctored in (beyond, first._replace(digest="0" * 16), first._replace(key="a0.0.0")):
            assert len(violations(replace(said, acknowledged=(*said.acknowledged, doctored)), found)) == 1

        log = os.open(fast_folder / "doctored.log", os.O_WRONLY | os.O_CREAT, 0o600)
        note(log, "done", *beyond)
        os.close(log)
        lost = f"{beyond.key}: acknowledged at {beyond.stream} version {beyond.version}, and lost"
        assert violations(read_logs(fast_folder), found) == [lost]

        mark = found.streams[first.stream][first.version - 1][1]
        persister_on(store).append(ledgers, "elsewhere", Written(mark), expected=ANY)
        assert violations(said, read_store(store)) == [f"{mark} is there 2 times"]


def test_the_checker_catches_writers_that_acknowledge_before_they_append(killer: Killer, fast_folder: Path) -> None:
    """It names each event that was acknowledged and lost, and accuses no other."""
    for seed in range(10):
        killer.kill(fast_folder, 10, seed, manner="early")
        said = read_logs(fast_folder)
        with open_kills(fast_folder) as store:
            found = read_store(store)
        lost = {acknowledged.key for acknowledged in said.acknowledged} - found.counts.keys()
        wrong = violations(said, found)
        assert {line.partition(":")[0] for line in wrong} == lost, wrong
        if lost:
            print(f"caught in round {seed + 1}: {len(lost)} of {len(said.acknowledged)} acknowledged events were lost")
            return
    pytest.fail("a hundred kills met no writer between its acknowledgement and its commit")
