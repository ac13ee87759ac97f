"""The page of the statuses has the steps of the code, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from eventstate.jobs.job import STATUSES, TRANSITIONS
from eventstate.jobs.runs.progress import RUN_STATUSES, RUN_TRANSITIONS, WORKSTREAM_TRANSITIONS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "job-statuses.md").read_text(encoding="utf-8")
JOB_PART, RUN_PART = PAGE.split("## Runs and workstreams")


def steps(part: str) -> set[tuple[str, str, str]]:
    """The steps that the table of a part tells."""
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (.+) \| (.+) \|$", part, re.MULTILINE)
    found: set[tuple[str, str, str]] = set()
    for event, sources, target in rows:
        for source in re.findall(r"`(\w+)`", sources):
            found.add((source, event, source if target == "the same" else target.strip("`")))
    return found


def statuses(part: str) -> set[str]:
    """The statuses that the table of a part explains."""
    return set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE))


def of_workstreams(table: Iterable[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    return {(source, event.replace("run.", "workstream."), target) for source, event, target in table}


def test_the_steps_of_jobs() -> None:
    assert steps(JOB_PART) == set(TRANSITIONS)
    assert statuses(JOB_PART) == STATUSES


def test_the_steps_of_runs_and_workstreams() -> None:
    assert steps(RUN_PART) == set(RUN_TRANSITIONS)
    assert of_workstreams(RUN_TRANSITIONS) == set(WORKSTREAM_TRANSITIONS)
    assert statuses(RUN_PART) == set(RUN_STATUSES)
