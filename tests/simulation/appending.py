"""Appends with lost answers, late copies and crashes: what was acknowledged is there, once and where it was said."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from eventstate.core.documents import ENTRY
from eventstate.core.expected import ANY
from eventstate.core.format import token_in
from eventstate.core.settlement import TokenRef
from eventstate.errors import CommitUnknownError, ConflictError, StoreUnavailableError
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.together import AppendTo
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import TALLIES, Added
from eventstate.testing.simulation import Simulation
from tests.simulation.world import World, any_weather

STREAMS = ("1", "2")


@dataclass
class Told:
    """What the writers were told: the version of each acknowledged mark by stream, what failed, what is unknown."""

    done: dict[str, dict[str, int]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    unknown: dict[str, str] = field(default_factory=dict)
    by_key: dict[str, set[int]] = field(default_factory=dict)


def persister(store: Store) -> AsyncStateMachinePersister:
    return AsyncStateMachinePersister(store, governor="shop", machines=[TALLIES], snapshot_every=3, keep_snapshots=2)


async def appending(simulation: Simulation) -> None:
    chance = simulation.random
    world = World(simulation, chance.choice((2, 2, 3)), any_weather(chance), steps=60)
    told = Told()

    async def write(number: int) -> None:
        writer = persister(world.lines[number])
        for turn in range(2):
            await _one_append(world, writer, f"{number}.{turn}", told)

    await world.run([(number, write(number)) for number in range(len(world.processes))])
    _check(world, told)
    if await world.all_delivered():
        _check(world, told)


async def _one_append(world: World, writer: AsyncStateMachinePersister, mark: str, told: Told) -> None:
    chance = world.simulation.random
    way, id = chance.randrange(5), chance.choice(STREAMS)
    event = Added(mark)
    try:
        if way == 0:
            versions = {id: (await writer.append(TALLIES, id, event, expected=ANY)).version}
        elif way == 1:
            version = (await writer.load(TALLIES, id)).version if await writer.exists(TALLIES, id) else 0
            versions = {id: (await writer.append(TALLIES, id, event, expected=version)).version}
            assert versions[id] == version + 1
        elif way == 2:
            versions = {id: (await writer.execute(TALLIES, id, lambda _tally: [event])).version}
        elif way == 3:
            states = await writer.append_together(*(AppendTo(TALLIES, name, event, expected=ANY) for name in STREAMS))
            versions = {name: state.version for name, state in zip(STREAMS, states, strict=True)}
        else:
            await _with_key(world, writer, told)
            return
    except (ConflictError, StoreUnavailableError):
        told.failed.add(mark)
    except CommitUnknownError as error:
        await _settle(writer, mark, error.token, told)
    else:
        told.done[mark] = versions
        for name, version in versions.items():
            assert _marks(world, name)[version - 1] == mark, f"{mark} was said to be version {version} of {name}"


async def _with_key(world: World, writer: AsyncStateMachinePersister, told: Told) -> None:
    """A command that all processes are given, each until it is answered."""
    key = world.simulation.random.choice(("k1", "k2"))
    for _ in range(10):
        try:
            state = await writer.append(TALLIES, "1", Added(key), expected=ANY, idempotency_key=key)
        except (CommitUnknownError, ConflictError, StoreUnavailableError):
            continue
        told.by_key.setdefault(key, set()).add(state.version)
        return


async def _settle(writer: AsyncStateMachinePersister, mark: str, token: str, told: Told) -> None:
    try:
        is_there = await writer.settle(token)
    except (CommitUnknownError, StoreUnavailableError):
        told.unknown[mark] = token
        return
    if is_there:
        told.done[mark] = {}
    else:
        told.failed.add(mark)
    told.unknown[mark] = token  # asked again at the end: it must not change


def _marks(world: World, stream: str) -> list[str]:
    """The marks in a stream, by version, as they are on disk now."""
    keys = [key for key in world.disk.keys(ENTRY, "shop") if key.id == f"tally-{stream}"]
    assert [key.n for key in keys] == list(range(1, len(keys) + 1)), "versions are not consecutive"
    found: list[str] = []
    for key in keys:
        document = world.disk.document(key)
        assert document is not None
        assert token_in(document.body) == document.revision
        found += [event["data"]["mark"] for event in orjson.loads(document.body)["e"]]
    return found


def _check(world: World, told: Told) -> None:
    reader = persister(world.disk)
    for mark, token in told.unknown.items():
        assert TokenRef.parse(token).owner == "shop"
        if drive(reader.settle(token)):
            assert mark not in told.failed, f"{mark} was settled as not committed, and is"
            told.done.setdefault(mark, {})
        else:
            assert mark not in told.done, f"{mark} was settled as committed, and is not"
            told.failed.add(mark)
    report = drive(reader.validate_consistency())
    assert report.is_consistent, report.findings
    streams = {id: _marks(world, id) for id in STREAMS}
    for id, marks in streams.items():
        assert len(set(marks)) == len(marks), f"{id} has a mark twice: {marks}"
        assert not set(marks) & told.failed, f"{set(marks) & told.failed} were said to have failed and are there"
    for mark, versions in told.done.items():
        assert any(mark in marks for marks in streams.values()), f"{mark} was acknowledged and is lost"
        for id, version in versions.items():
            assert streams[id][version - 1] == mark, f"{mark} is not at version {version} of {id}"
    for key, versions_told in told.by_key.items():
        assert versions_told == {streams["1"].index(key) + 1}, f"{key} is not at {versions_told}"
