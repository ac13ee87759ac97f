"""What eventstate wants to reach, beside what it has reached in a run.

Goals are not bounds: a run that misses one is no failure (`guard` has the bounds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from benchmarks.results import HIGHER_IS_BETTER, Results, Row, Table

Against = Literal["raw", "peers", "itself"]
Files = Literal["disk", "tmpfs", "any"]

EVENT_SOURCING: Final = ("eventsourcing", "eventsource-py, asyncio")
ONE_WRITER: Final = ("langgraph", *EVENT_SOURCING, "dbos")


class Goal(NamedTuple):
    """A bound for one figure of one arm.

    Attributes:
        text: what is wanted, as the table says it.
        metric: as in a row's measurements, or ``growth``.
        least, most: one of them is given. Ratios to peers, and ``least`` to raw, say how many times better; ``most``
            to raw how many times the raw figure.
        against: the raw limit, the best of the peers, or nothing: then the bound is for the figure itself.
        peers: the arms that count as peers; empty: all that are neither raw nor eventstate.
        files: the goal holds for files on disk, in memory, or for both.
    """

    text: str
    case: str
    arm: str
    metric: str
    least: float | None = None
    most: float | None = None
    against: Against = "raw"
    peers: tuple[str, ...] = ()
    files: Files = "disk"


class Reached(NamedTuple):
    """How a goal stands: the figure in words, and whether it holds; None where it could not be measured."""

    goal: Goal
    figure: str
    holds: bool | None


def _one_writer() -> list[Goal]:
    goals: list[Goal] = []
    for size, label in (("small", "200 B"), ("large", "4 KiB")):
        case = f"w1-{size}"
        goals += [
            Goal(f"one writer, {label}: p50 >= 0.80 of raw", case, "eventstate", "p50_us", least=0.80),
            Goal(
                f"one writer, {label}: ahead of each peer's blocking or only form",
                case,
                "eventstate",
                "rate",
                least=1.0,
                against="peers",
                peers=ONE_WRITER,
            ),
            Goal(
                f"one writer, asyncio, {label}: >= 2x the asyncio peers",
                case,
                "eventstate, asyncio",
                "rate",
                least=2.0,
                against="peers",
                peers=("langgraph, asyncio", "eventsource-py, asyncio"),
            ),
            Goal(
                f"one writer, {label}, in memory: p50 <= 1.8x raw",
                case,
                "eventstate",
                "p50_us",
                most=1.8,
                files="tmpfs",
            ),
            Goal(
                f"one writer, {label}, in memory: ahead of langgraph",
                case,
                "eventstate",
                "rate",
                least=1.0,
                against="peers",
                peers=("langgraph",),
                files="tmpfs",
            ),
        ]
    return goals


def _many_writers() -> list[Goal]:
    goals: list[Goal] = []
    for size, label in (("small", "200 B"), ("large", "4 KiB")):
        case, arm = f"w2-tasks-{size}", "eventstate, asyncio"
        goals += [
            Goal(f"64 tasks, {label}: >= 0.6 of raw group commit", case, arm, "rate", least=0.6),
            Goal(f"64 tasks, {label}: >= 10x the best peer", case, arm, "rate", least=10.0, against="peers"),
        ]
    threads = "w2-threads-small"
    return [
        *goals,
        Goal("64 threads: >= 0.25 of raw group commit", threads, "eventstate", "rate", least=0.25),
        Goal("64 threads: >= 3x the best peer", threads, "eventstate", "rate", least=3.0, against="peers"),
        Goal("4 processes: no errors", "w2-processes-small", "eventstate, asyncio", "errors", most=0, against="itself"),
    ]


def _reading() -> list[Goal]:
    goals: list[Goal] = []
    typed, plain = "eventstate", "eventstate, plain states"
    for size, label in (("small", "200 B"), ("large", "4 KiB")):
        case = f"w3-{size}"
        goals += [
            Goal(f"rebuild, plain states, {label}: >= 0.5 of raw", case, plain, "rate", least=0.5, files="any"),
            Goal(
                f"rebuild, typed, {label}: >= 3x the best event-sourcing peer",
                case,
                typed,
                "rate",
                least=3.0,
                against="peers",
                peers=EVENT_SOURCING,
                files="any",
            ),
        ]
    return [
        *goals,
        Goal("recovery, plain states: <= 1.5x the raw time", "w4", plain, "ms", most=1.5, files="any"),
        Goal("recovery, plain states, digests checked: <= 3x the raw time", "w4", plain, "ms", most=3.0, files="any"),
        Goal("recovery, typed: <= 4x the raw time", "w4", typed, "ms", most=4.0, files="any"),
        Goal(
            "recovery, typed: >= 5x the best event-sourcing peer",
            "w4",
            typed,
            "rate",
            least=5.0,
            against="peers",
            peers=EVENT_SOURCING,
            files="any",
        ),
        Goal(
            "recovery, typed: ahead of langgraph, which reads the latest checkpoint only",
            "w4",
            typed,
            "rate",
            least=1.0,
            against="peers",
            peers=("langgraph",),
            files="any",
        ),
    ]


def _sizes() -> list[Goal]:
    goals: list[Goal] = []
    for number, label in ((1, "one machine, 200 B"), (2, "one machine, 4 KiB"), (3, "10,000 machines, 200 B")):
        case, metric = f"w5-{number}", "bytes_per_event"
        goals += [
            Goal(f"bytes, {label}: <= 1.3x raw", case, "eventstate", metric, most=1.3, files="any"),
            Goal(
                f"bytes, {label}: fewer than every peer",
                case,
                "eventstate",
                metric,
                least=1.0,
                against="peers",
                files="any",
            ),
        ]
    return goals


def _starting() -> list[Goal]:
    loaded = "eventstate, one state loaded"
    return [
        Goal("import: <= 60 ms", "w6", "eventstate", "ms", most=60, against="itself", files="any"),
        Goal("import: <= 15 MiB", "w6", "eventstate", "rss_mib", most=15, against="itself", files="any"),
        Goal("import, open SQLite, load: <= 120 ms", "w6", loaded, "ms", most=120, against="itself", files="any"),
    ]


def _growth() -> list[Goal]:
    large, many = "eventstate, 1,000,000 events", "eventstate, 100,000 machines"
    text = "at 1,000,000 events: <= 1.3x the p50 at 1,000"
    return [
        Goal(f"append {text}", "w7-append", large, "growth", most=1.3, against="itself"),
        Goal(f"load {text}", "w7-load", large, "growth", most=1.3, against="itself"),
        Goal(
            "append with 100,000 machines: <= 1.3x the p50 with 100",
            "w7-append",
            many,
            "growth",
            most=1.3,
            against="itself",
        ),
    ]


def _contended() -> list[Goal]:
    arm = "eventstate, transactions"
    return [
        Goal("16 writers, one document: >= 0.5 of raw compare-and-swap", "w8", arm, "rate", least=0.5),
        Goal(
            "16 writers, one document: >= 0.5 of the store's compare-and-swap",
            "w8",
            arm,
            "rate",
            least=0.5,
            against="peers",
            peers=("eventstate, store's compare-and-swap",),
        ),
        Goal(
            "16 writers: the slowest has >= 0.5 of a fair share",
            "w8",
            arm,
            "slowest_share",
            least=0.5,
            against="itself",
        ),
    ]


def _firestore() -> list[Goal]:
    one, many = "eventstate", "eventstate, asyncio"
    step, step_asyncio = "langgraph, step of a graph", "langgraph, step of a graph, asyncio"
    goals: list[Goal] = []
    for size, label in (("small", "200 B"), ("large", "4 KiB")):
        goals += [
            Goal(f"Firestore, one stream, {label}: >= 0.8 of raw stubs", f"w9-one-{size}", one, "rate", least=0.8),
            Goal(
                f"Firestore, one stream, {label}: >= 4x a step of langgraph",
                f"w9-one-{size}",
                one,
                "rate",
                least=4.0,
                against="peers",
                peers=(step,),
            ),
            Goal(f"Firestore, 64 streams, {label}: >= 0.8 of raw stubs", f"w9-tasks-{size}", many, "rate", least=0.8),
            Goal(
                f"Firestore, 64 streams, {label}: >= 15x a step of langgraph",
                f"w9-tasks-{size}",
                many,
                "rate",
                least=15.0,
                against="peers",
                peers=(step_asyncio,),
            ),
            Goal(f"Firestore, load, {label}: >= 0.8 of raw stubs", f"w9-load-{size}", one, "rate", least=0.8),
        ]
    return [goal._replace(files="any") for goal in goals]


GOALS: Final = (
    *_one_writer(),
    *_many_writers(),
    *_reading(),
    *_sizes(),
    *_starting(),
    *_growth(),
    *_contended(),
    *_firestore(),
)


def reached(results: Results, goals: Sequence[Goal] = GOALS) -> list[Reached]:
    """How each goal stands whose case was part of this run."""
    files = "tmpfs" if results.machine.get("files") == "tmpfs" else "disk"
    standing: list[Reached] = []
    for goal in goals:
        table = results.table(goal.case)
        if table is not None and goal.files in ("any", files):
            standing.append(_judge(goal, table))
    return standing


def _judge(goal: Goal, table: Table) -> Reached:
    row = table.row(goal.arm)
    if row is None or not row.rounds:
        return Reached(goal, "not measured", None)
    value, figure = {"raw": _against_raw, "peers": _against_peers, "itself": _itself}[goal.against](goal, table, row)
    if value is None:
        return Reached(goal, figure, None)
    holds = value >= goal.least if goal.least is not None else goal.most is not None and value <= goal.most
    return Reached(goal, figure, holds and not (goal.metric == "errors" and row.failures))


def _against_raw(goal: Goal, table: Table, row: Row) -> tuple[float | None, str]:
    better = row.ratio(goal.metric)
    if better is None:
        return None, "not measured beside raw"
    value = better.median if goal.least is not None else 1 / better.median
    return value, f"{value:.2f} of raw" if goal.least is not None else f"{value:.2f}x raw"


def _against_peers(goal: Goal, table: Table, row: Row) -> tuple[float | None, str]:
    """Each arm's ratio to the raw runs around it is compared, so that a change of the machine's pace does not count."""
    own = strength(row, goal.metric)
    strengths = {peer.arm: one for peer in peers(table, goal) if (one := strength(peer, goal.metric)) is not None}
    missing = [name for name in goal.peers if name not in strengths]
    if own is None or not strengths:
        return None, "no peer was measured"
    best = max(strengths, key=lambda name: strengths[name])
    value = own / strengths[best]
    without = f" (not run: {'; '.join(missing)})" if missing else ""
    return value, f"{value:.2f}x {best}{without}"


def _itself(goal: Goal, table: Table, row: Row) -> tuple[float | None, str]:
    if goal.metric == "growth":
        growth = row.ratio("growth")
        return (growth.median, f"{growth.median:.2f}x") if growth is not None else (None, "not measured")
    if goal.metric == "errors":
        errors = sum(one.get("errors", 0) for one in row.rounds) + len(row.failures)
        return errors, f"{errors}"
    figure = row.metric(goal.metric)
    if figure is None:
        return None, "not measured"
    unit = {"ms": " ms", "rss_mib": " MiB"}.get(goal.metric, "")
    return figure.median, f"{figure.median:.2f}{unit}" if not unit else f"{figure.median:.1f}{unit}"


def peers(table: Table, goal: Goal) -> list[Row]:
    """The rows that a goal compares with."""
    if goal.peers:
        return [row for name in goal.peers if (row := table.row(name)) is not None]
    return [row for row in table.rows if kind(row.arm) == "peer"]


def kind(arm: str) -> Literal["raw", "eventstate", "peer"]:
    """What an arm is, by its name."""
    if arm.startswith("eventstate"):
        return "eventstate"
    return "raw" if arm.startswith(("raw", "bare interpreter", "apsw + orjson")) else "peer"


def strength(row: Row, metric: str) -> float | None:
    """How many times raw an arm is, or, without a ratio, its figure; more is better in both."""
    better = row.ratio(metric)
    if better is not None:
        return better.median
    figure = row.metric(metric)
    if figure is None or not figure.median:
        return None
    return figure.median if metric in HIGHER_IS_BETTER else 1 / figure.median
