"""The ids of statuses, and the order in which statuses are listed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate import InvalidIdError, TaskStatus
from eventstate.jobs.tasks.status import check_tag, state_id, tag_and_task
from eventstate.jobs.tasks.tracking import by_time

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
