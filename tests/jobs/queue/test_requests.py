"""Jobs as they are handed in: in a mapping nothing is left out."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate import InvalidInputError, JobRequest, JobRules

JOB: dict[str, Any] = {"job_id": "a", "tool": "t", "ws_id": "w", "run_id": "r", "env": {"A": "1"}}


def test_a_mapping_is_the_request_with_its_members() -> None:
    said = {**JOB, "depends_on": ["b"], "priority": 3, "rules": {"max_retries": 2}, "metadata": {"timeout_seconds": 5}}
    assert JobRequest.of(said) == JobRequest(
        job_id="a",
        tool="t",
        workstream_id="w",
        run_id="r",
        env={"A": "1"},
        depends_on=["b"],
        priority=3,
        rules=JobRules(max_retries=2, timeout=5),
        metadata={"timeout_seconds": 5},
    )


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"depend_on": ["b"]}, "depend_on"),
        ({"priorty": 1}, "priorty"),
        ({7: 1}, "7"),
        ({"rules": {"retries": 1}}, "retries"),
    ],
)
def test_a_member_that_there_is_not_is_refused_by_name(more: dict[Any, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=f"there is no (member|rule) '{named}'"):
        JobRequest.of({**JOB, **more})
