"""States at versions and times, and the events between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from eventstate import (
    Event,
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
    VersionNotFoundError,
)
from tests.machines.world import Added, World, datas, make_counter

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def counted(world: World, events: int, **options: Any) -> Any:
    """A persister with a counter that went 1, 2, 3, …, one commit each."""
    counter = make_counter()
    persister = world(machines=[counter], **options)
    for version in range(events):
        persister.append("counter-a", Added(1), expected=version, occurred_at=START + version * DAY)
    return persister


@pytest.mark.parametrize("every", [0, 1, 3, 100])
def test_every_version_can_be_loaded_whatever_the_snapshots(world: World, every: int) -> None:
    persister = counted(world, 12, snapshot_every=every, keep_snapshots=2)
    for version in range(1, 13):
        loaded = persister.load("counter-a", at_version=version)
        assert (loaded.data, loaded.version, loaded.action) == (version, version, "Added")
        assert loaded.metadata.parent_version == version - 1
        assert loaded.metadata.occurred_at == START + (version - 1) * DAY
    assert not persister.load("counter-a").recovered


def test_versions_inside_a_commit_can_be_loaded(world: World) -> None:
    counter = make_counter()
    persister = world(machines=[counter], snapshot_every=4)
    persister.append(counter, "a", Added(1), Added(10), Added(100), expected=0)
    persister.append(counter, "a", Added(1000), Added(10000), expected=3)
    sums = [1, 11, 111, 1111, 11111]
    assert [persister.load(counter, "a", at_version=v).data for v in range(1, 6)] == sums
    assert [t.to_state for t in persister.history(counter, "a", from_version=2, to_version=4)] == sums[1:4]


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_versions_that_are_none(world: World, version: Any) -> None:
    persister = counted(world, 2)
    if version is None:
        assert persister.load("counter-a", at_version=None).version == 2
        return
    with pytest.raises(InvalidInputError, match="versions begin at 1"):
        persister.load("counter-a", at_version=version)


def test_a_version_beyond_the_tip_says_what_there_is(world: World) -> None:
    persister = counted(world, 3)
    with pytest.raises(VersionNotFoundError, match="versions 1 to 3") as caught:
        persister.load("counter-a", at_version=4)
    assert (caught.value.state_id, caught.value.first, caught.value.last) == ("counter-a", 1, 3)
    with pytest.raises(StateNotFoundError):
        persister.load("counter-b", at_version=1)


def test_history_from_and_to(world: World) -> None:
    persister = counted(world, 10, snapshot_every=4)

    def versions(**options: int) -> list[int]:
        return [t.version for t in persister.history("counter-a", **options)]

    assert versions() == list(range(1, 11))
    assert versions(from_version=7) == [7, 8, 9, 10]
    assert versions(to_version=3) == [1, 2, 3]
    assert versions(from_version=4, to_version=6) == [4, 5, 6]
    assert versions(from_version=10, to_version=10) == [10]
    assert versions(to_version=99) == list(range(1, 11))
    assert versions(from_version=11) == versions(from_version=6, to_version=5) == []
    [fifth] = persister.history("counter-a", from_version=5, to_version=5)
    assert (fifth.from_state, fifth.to_state, fifth.data) == (4, 5, Added(1))
    assert fifth.rebuilt
    for bad in (0, -1, True):
        with pytest.raises(InvalidInputError):
            list(persister.history("counter-a", from_version=bad))
    with pytest.raises(StateNotFoundError):
        list(persister.history("counter-b"))


def test_long_histories_come_in_pages(world: World) -> None:
    counter = make_counter()
    persister = world(machines=[counter], snapshot_every=0)
    for commit in range(13):
        persister.append(counter, "a", *[Added(1)] * 100, expected=commit * 100)
    states = [t.to_state for t in persister.history(counter, "a")]
    assert states == list(range(1, 1301))
    assert persister.load(counter, "a", at_version=1250).data == 1250


def test_the_state_at_a_time_is_that_of_the_last_event_that_had_happened(world: World) -> None:
    persister = counted(world, 3)
    for at, expected in [
        (START, 1),
        (START + DAY - timedelta(microseconds=1), 1),
        (START + DAY, 2),
        (START + 100 * DAY, 3),
        ((START + DAY).astimezone(timezone(timedelta(hours=-7))), 2),
    ]:
        assert persister.load("counter-a", at_time=at).data == expected
        assert persister.get_state_at_time("counter-a", at).version == expected
    with pytest.raises(VersionNotFoundError, match="state at 2023-12-31"):
        persister.load("counter-a", at_time=START - timedelta(microseconds=1))


def test_occurrence_need_not_follow_stream_order(world: World) -> None:
    """A late report of something that happened earlier counts from its place in the stream."""
    persister = world()
    persister.save_state("doc", "b", expected=0, occurred_at=START + 2 * DAY)
    persister.save_state("doc", "a, late", expected=1, occurred_at=START + DAY)
    assert persister.load("doc", at_time=START + DAY).data == "a, late"
    assert persister.load("doc", at_time=START + 3 * DAY).data == "a, late"


def test_events_without_occurrence_go_by_when_they_were_recorded(world: World) -> None:
    persister = world()
    saved = persister.save_state("doc", 1, expected=0)
    assert persister.load("doc", at_time=saved.timestamp).version == 1
    with pytest.raises(VersionNotFoundError):
        persister.load("doc", at_time=saved.timestamp - timedelta(microseconds=1))


@pytest.mark.parametrize("at", [datetime(2024, 1, 1), "2024-01-01", 5])  # noqa: DTZ001
def test_times_must_be_aware(world: World, at: Any) -> None:
    persister = counted(world, 1)
    for call in (
        lambda: persister.load("counter-a", at_time=at),
        lambda: list(persister.states_at(at)),
        lambda: persister.get_events(at, START),
        lambda: persister.get_events(START, at),
    ):
        with pytest.raises(InvalidInputError):
            call()
    with pytest.raises(InvalidInputError, match="not both"):
        persister.load("counter-a", at_version=1, at_time=START)


def test_all_states_as_they_were(world: World) -> None:
    persister = world()
    for i in range(5):
        persister.save_state(f"doc-{i}", "first", expected=0, occurred_at=START + i * DAY)
        persister.save_state(f"doc-{i}", "second", expected=1, occurred_at=START + (i + 2) * DAY)
    persister.delete_state("doc-0", expected=2)
    states = {s.id: s.data for s in persister.states_at(START + 3 * DAY)}
    assert states == {"doc-0": "second", "doc-1": "second", "doc-2": "first", "doc-3": "first"}
    now = {s.id for s in persister.states_at(datetime.now(UTC) + DAY)}
    assert now == {"doc-1", "doc-2", "doc-3", "doc-4"}
    assert list(persister.states_at(START - DAY)) == []


def test_events_of_a_governor_by_time(world: World) -> None:
    persister = world()
    persister.save_state("b-1", 1, expected=0, occurred_at=START + DAY)
    persister.save_state("a-1", 1, expected=0, occurred_at=START + DAY)
    persister.save_state("a-1", 2, expected=1, occurred_at=START)
    persister.save_state("a-1", 3, expected=2, occurred_at=START + 5 * DAY)
    persister.delete_state("b-1", expected=1)

    def found(start: datetime, end: datetime, **options: str) -> list[tuple[str, int]]:
        return [(t.state_id, t.version) for t in persister.get_events(start, end, **options)]

    assert found(START, START + 5 * DAY) == [("a-1", 2), ("a-1", 1), ("b-1", 1), ("a-1", 3)]
    assert found(START, START) == [("a-1", 2)]
    assert found(START + DAY, START + DAY, prefix="b") == [("b-1", 1)]
    assert found(START + 6 * DAY, datetime.now(UTC) + DAY) == [("b-1", 2)]
    assert found(START + DAY, START) == []


def test_a_deleted_version_is_no_state(world: World) -> None:
    persister = world()
    persister.save_state("doc", 1, expected=0, occurred_at=START)
    persister.delete_state("doc", expected=1)
    with pytest.raises(StateDeletedError):
        persister.load("doc", at_time=datetime.now(UTC) + DAY)
    assert persister.load("doc", at_time=START + DAY).data == 1


def test_history_of_named_events_holds_their_data(world: World) -> None:
    persister = world()
    persister.append("doc", Event("noted", data={"by": "kim"}, state=1), Event("gone", state=None), expected=0)
    assert datas(persister.history("doc")) == [{"by": "kim"}, None]
