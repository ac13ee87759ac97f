"""Ratios, tables, kept results and comparisons."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.compare import render_comparison, times_better
from benchmarks.history import commit, kept_at
from benchmarks.pages import markdown, page
from benchmarks.plots import colour, workloads
from benchmarks.results import Results, Row, Table, ratio
from benchmarks.table import render, render_goals


def table(name: str = "w1-small", *, rate: float = 500.0, wanted: int = 2, done: int = 2) -> Table:
    raw = Row(arm="raw", rounds=[{"rate": 1000.0, "p50_us": 90.0, "p99_us": 200.0}], ratios={"rate": [1.0]})
    ours = Row(arm="eventstate", rounds=[{"rate": rate, "p50_us": 180.0, "p99_us": 900.0, "facts": {}}])
    ours.ratios = {"rate": [0.4, 0.5, 0.6], "p50_us": [0.5]}
    absent = Row(arm="other", failures=["no Python found"])
    return Table(name=name, title="One writer", unit="/s", rows=[raw, ours, absent], wanted=wanted, done=done)


def results(*, rate: float = 500.0) -> Results:
    return Results(
        machine={"commit": "abc", "mode": "quick", "files": "ext4", "whole": True}, tables=[table(rate=rate)]
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("rate", 0.5), ("p50_us", 2.0)],
)
def test_a_ratio_says_how_much_better_whatever_the_metric(metric: str, expected: float) -> None:
    assert ratio(metric, {metric: 100.0}, {metric: 150.0}, {metric: 250.0}) == expected


def test_no_ratio_without_a_neighbour_that_has_the_metric() -> None:
    assert ratio("rate", {"rate": 1.0}, {"ms": 1.0}, {"rate": 1.0}) is None


def test_the_table_says_what_did_not_run() -> None:
    text = render([table()])
    assert "not run: no Python found" in text
    assert "INCOMPLETE" not in text


def test_an_interrupted_case_is_marked() -> None:
    assert "One writer (INCOMPLETE, 1 of 7 rounds)" in render([table(wanted=7, done=1)])


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    written = results()
    file = tmp_path / "results" / "abc.json"
    written.write(file)
    assert Results.read(file) == written


def test_results_of_before_every_ratio_was_kept_can_be_compared() -> None:
    content = table().to_json()
    for row in content["rows"]:
        del row["every_ratio"]
    del content["wanted"], content["done"]
    row = Table.from_json(content).row("eventstate")
    assert row is not None
    assert row.ratio("rate") == (0.5, 0.4, 0.6)


def test_a_comparison_has_both_figures_and_both_ratios() -> None:
    text = render_comparison(results(rate=400.0), results(rate=600.0))
    (line,) = [line for line in text.splitlines() if "eventstate" in line and " rate " in line]
    assert line.split()[-5:] == ["400", "600", "1.50", "0.50", "0.50"]


def test_what_only_one_run_has_is_not_compared() -> None:
    assert "eventstate" not in render_comparison(Results(machine={}, tables=[]), results())


@pytest.mark.parametrize(("metric", "better"), [("rate", 2.0), ("ms", 0.5)])
def test_more_is_better_for_rates_and_less_for_times(metric: str, better: float) -> None:
    assert times_better(metric, 10.0, 20.0) == better


def test_runs_of_another_kind_do_not_replace_the_run_of_a_commit(tmp_path: Path) -> None:
    whole = {"commit": "abc", "mode": "quick", "files": "ext4", "whole": True}
    kinds = [whole, {**whole, "files": "tmpfs"}, {**whole, "mode": "long"}, {**whole, "whole": False}]
    names = [kept_at(tmp_path, machine).name for machine in kinds]
    assert names == ["abc.json", "abc-tmpfs.json", "abc-long.json", "abc-partial.json"]


def test_the_commit_says_whether_files_differ_from_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--no-verify", "-m", "first")
    clean = commit(tmp_path)
    (tmp_path / "file").write_text("2")
    assert len(clean) == 10
    assert commit(tmp_path) == f"{clean}-dirty"


def test_no_commit_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(tmp_path) == "unversioned"


def test_the_page_has_goals_and_figures() -> None:
    text = page(results())
    assert "| one writer, 200 B: p50 >= 0.80 of raw | 0.50 of raw | NO |" in text
    assert "### One writer" in text
    assert "| eventstate | 500 /s | 180 us | 900 us | 0.50 | 0.40-0.60 | 0.50 |" in text


def test_a_bar_in_a_cell_ends_no_column() -> None:
    assert markdown([("a", "b"), ("x|y", "1")], {0}).splitlines() == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |"]


def test_one_chart_for_each_workload_that_was_measured() -> None:
    empty = Table(name="w6", title="", unit="ms", rows=[Row(arm="eventstate")])
    found = workloads([table("w1-small"), table("w1-large"), table("w4"), empty])
    assert {name: len(group) for name, group in found.items()} == {"w1": 2, "w4": 1}


def test_the_forms_of_a_library_have_colours_of_their_own() -> None:
    assert colour("eventstate, 1,000 events") == colour("eventstate")
    assert colour("eventstate, asyncio") != colour("eventstate")
    assert colour("raw, asyncio + writer thread") == colour("raw")


def test_no_goals_still_have_a_header() -> None:
    assert render_goals([]).startswith("goal")
