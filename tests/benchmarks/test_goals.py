"""Goals are judged by the medians of a run."""

from __future__ import annotations

import pytest

from benchmarks.cases import QUICK, cases
from benchmarks.firestore import firestore_cases
from benchmarks.goals import GOALS, Goal, kind, reached
from benchmarks.growth import ARMS, OPERATIONS, SIZES, row_name
from benchmarks.imports import IMPORTS
from benchmarks.results import Results, Row, Table

AHEAD = Goal("ahead", "case", "eventstate", "rate", least=2.0, against="peers")
AT_MOST = Goal("small", "case", "eventstate", "ms", most=1.5)
AT_LEAST = Goal("fast", "case", "eventstate", "rate", least=0.8)
ITSELF = Goal("light", "case", "eventstate", "rss_mib", most=15, against="itself")
NO_ERRORS = Goal("no errors", "case", "eventstate", "errors", most=0, against="itself")


def row(arm: str, *, ratios: dict[str, list[float]] | None = None, **figures: float) -> Row:
    return Row(arm=arm, rounds=[figures] if figures else [], ratios=ratios or {})


def results(*rows: Row, files: str = "ext4") -> Results:
    return Results(machine={"files": files}, tables=[Table(name="case", title="Case", unit="/s", rows=list(rows))])


@pytest.mark.parametrize(("ratio", "holds"), [(0.8, True), (0.79, False)])
def test_at_least_so_much_of_raw(ratio: float, holds: bool) -> None:
    (one,) = reached(results(row("eventstate", rate=1, ratios={"rate": [ratio]})), [AT_LEAST])
    assert one.holds is holds
    assert one.figure == f"{ratio:.2f} of raw"


@pytest.mark.parametrize(("ratio", "holds"), [(0.5, False), (0.8, True)])
def test_at_most_so_many_times_the_raw_time(ratio: float, holds: bool) -> None:
    """A ratio says how much better: 0.5 is twice the time."""
    (one,) = reached(results(row("eventstate", ms=1, ratios={"ms": [ratio]})), [AT_MOST])
    assert one.holds is holds
    assert one.figure == f"{1 / ratio:.2f}x raw"


def test_peers_are_compared_by_their_ratios_to_raw_not_by_their_rates() -> None:
    """The machine was slower while the peer ran: its rate says less than what raw did right beside it."""
    rows = (
        row("raw", rate=100, ratios={"rate": [1.0]}),
        row("eventstate", rate=100, ratios={"rate": [0.9]}),
        row("slow", rate=10, ratios={"rate": [0.3]}),
        row("slower", rate=90, ratios={"rate": [0.2]}),
    )
    (one,) = reached(results(*rows), [AHEAD])
    assert one.holds
    assert one.figure == "3.00x slow"


def test_raw_and_our_other_forms_are_no_peers() -> None:
    rows = (
        row("raw group commit", rate=1, ratios={"rate": [1.0]}),
        row("eventstate", rate=1, ratios={"rate": [0.5]}),
        row("eventstate, asyncio", rate=1, ratios={"rate": [0.9]}),
    )
    (one,) = reached(results(*rows), [AHEAD])
    assert one.holds is None
    assert [kind(each.arm) for each in rows] == ["raw", "eventstate", "eventstate"]


def test_a_named_peer_that_did_not_run_is_said() -> None:
    goal = AHEAD._replace(peers=("here", "absent"))
    rows = (row("eventstate", rate=1, ratios={"rate": [0.9]}), row("here", rate=1, ratios={"rate": [0.3]}))
    (one,) = reached(results(*rows), [goal])
    assert one.figure == "3.00x here (not run: absent)"


def test_a_figure_of_its_own() -> None:
    (one,) = reached(results(row("eventstate", rss_mib=12.34)), [ITSELF])
    assert (one.holds, one.figure) == (True, "12.3 MiB")


def test_failed_rounds_are_errors() -> None:
    failed = row("eventstate", rate=1, errors=0)
    failed.failures.append("no answer")
    assert [one.holds for one in reached(results(failed), [NO_ERRORS])] == [False]
    assert [one.holds for one in reached(results(row("eventstate", rate=1, errors=0)), [NO_ERRORS])] == [True]


def test_what_was_not_measured_neither_holds_nor_fails() -> None:
    (one,) = reached(results(row("eventstate")), [AT_LEAST])
    assert (one.holds, one.figure) == (None, "not measured")


def test_goals_of_other_files_and_other_cases_are_left_out() -> None:
    goals = [AT_LEAST, AT_LEAST._replace(files="tmpfs"), AT_LEAST._replace(case="other")]
    measured = row("eventstate", rate=1, ratios={"rate": [0.9]})
    assert [one.goal for one in reached(results(measured), goals)] == goals[:1]
    assert [one.goal for one in reached(results(measured, files="tmpfs"), goals)] == goals[1:2]


def test_every_goal_names_rows_that_a_run_has() -> None:
    every = [*cases(QUICK), *firestore_cases(QUICK)]
    rows = {case.name: {arm.name for arm in (case.reference, *case.arms)} for case in every}
    rows |= {f"w7-{operation}": {row_name(arm, size) for arm in ARMS for size in SIZES} for operation in OPERATIONS}
    rows["w6"] = {one.arm for one in IMPORTS}
    named = [(goal.case, arm) for goal in GOALS for arm in (goal.arm, *goal.peers)]
    assert [(case, arm) for case, arm in named if arm not in rows[case]] == []
    assert all((goal.least is None) != (goal.most is None) for goal in GOALS)
