"""The ids of statuses, and the order in which statuses are listed."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate import InvalidIdError, JobTasks, StateMachinePersister, TaskStatus, open_store
from eventstate.core.documents import COMMAND
from eventstate.jobs.tasks.status import check_tag, state_id, tag_and_task
from eventstate.jobs.tasks.tracking import by_time
from eventstate.runtime.blocking import drive
from eventstate.stores.firestore.paths import Paths

TAGS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=6)


@given(TAGS, st.integers(0, 10**6))
def test_an_id_gives_its_tag_and_task_back(tag: str, task: int) -> None:
    try:
        check_tag(tag)
    except InvalidIdError:
        assert "/" in tag
        return
    assert tag_and_task(state_id(tag, task)) == (tag, task)


@given(st.text(max_size=8))
def test_no_two_ids_are_of_one_status(id: str) -> None:
    place = tag_and_task(id)
    assert place is None or state_id(*place) == id


@pytest.mark.parametrize("id", ["job", "main", ":0", "main:", "main:x", "main:00", "main:-1", "main:1.0", "main:١"])
def test_what_is_no_status_is_none(id: str) -> None:
    assert tag_and_task(id) is None


def test_statuses_are_listed_by_time_then_version() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later = now + timedelta(microseconds=1)
    places = [(now, 1, "b", 0), (now, 1, "b", 1), (now, 2, "a", 0), (later, 1, "a", 0)]
    statuses = [TaskStatus(job="j", task=n, tag=tag, version=v, timestamp=at) for at, v, tag, n in places]
    backwards = statuses[::-1]
    backwards.sort(key=by_time)
    assert backwards == statuses


class Stage(int, enum.Enum):
    FIRST = 0


class Tag(str, enum.Enum):  # noqa: UP042 a StrEnum would show nothing
    BUILD = "build"


@pytest.mark.backend("memory")
def test_members_of_enums_are_what_they_stand_for() -> None:
    with open_store("memory://") as store:
        tasks = JobTasks(store, "j", tasks=1)
        tasks.reporter(Stage.FIRST).report(5, tag=Tag.BUILD, event_id=Tag.BUILD)
        again = tasks.reporter(0).report(5, tag="build", event_id="build")
        assert (again.task, again.tag, again.version) == (0, "build", 1)
        assert [(status.task, status.tag) for status in tasks.list()] == [(0, "build")]
        assert tasks.get(task=Stage.FIRST, tag=Tag.BUILD).status == 5


@pytest.mark.backend("memory")
def test_event_ids_of_two_statuses_are_never_one() -> None:
    with open_store("memory://") as store:
        tasks = JobTasks(store, "j", tasks=2)
        tasks.reporter(0).report(1, tag="a", event_id="1:e")
        assert tasks.reporter(1).report(1, tag="a:0", event_id="e").version == 1
        assert tasks.reporter(0).report(1, tag="a", event_id="1/e").version == 2


@pytest.mark.backend("memory")
def test_the_order_of_members_makes_no_other_report() -> None:
    with open_store("memory://") as store:
        reporter = JobTasks(store, "j", tasks=1).reporter(0)
        first = reporter.report(1, payload={"a": 1, "b": [{"c": 2, "d": 3}]}, event_id="e")
        again = reporter.report(1, payload={"b": [{"d": 3, "c": 2}], "a": 1}, event_id="e")
        assert (again.version, again.payload) == (1, first.payload)


@pytest.mark.backend("memory")
def test_the_longest_names_can_be_used_everywhere() -> None:
    paths = Paths(project="p", database="d")
    with open_store("memory://") as store:
        tasks = JobTasks(store, "j", tasks=1_000_000)
        reporter = tasks.reporter(999_999)
        for tag in ("t" * 1391, "." * 463):
            reporter.report(5, tag=tag)
            [found] = tasks.list(tag=tag)
            persister = StateMachinePersister(store, governor=tasks.governor)
            assert persister.load(state_id(tag, found.task)).data == {"status": 5}
            with pytest.raises(InvalidIdError, match="limit is 1,391"):
                reporter.report(5, tag=tag + tag[0])
        reporter.report(5, event_id="e" * 1370)
        for command in drive(store.scan(COMMAND, tasks.governor)).documents:
            assert paths.name(command.key)
        with pytest.raises(InvalidIdError, match="limit is 1,400"):
            reporter.report(6, tag="t" * 700, event_id="e" * 700)
        assert tasks.get(task=999_999, tag="main").version == 1
