"""`python -m benchmarks`: the tables of one run."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import guard, history, pages, plots
from benchmarks.cases import LONG, QUICK, Case, Scale, cases, select
from benchmarks.compare import render_comparison
from benchmarks.firestore import Firestore, firestore_cases
from benchmarks.goals import reached
from benchmarks.growth import Growth
from benchmarks.imports import Imports
from benchmarks.interruption import Interrupted, interruptible
from benchmarks.part import Part, Places
from benchmarks.processes import ROOT
from benchmarks.progress import Progress, Step, minutes
from benchmarks.results import Results, Row, Table
from benchmarks.runner import Runner
from benchmarks.table import render, render_goals

SHARED_MEMORY: Final = Path("/dev/shm")
LEGEND: Final = (
    "x raw: median over rounds of a measurement against the two raw ones around it, 1 is equal, more is better"
    " (bytes: raw / arm; W7: time of a call); the range of the raw row against itself is the noise.\n"
    "per sync: appends per fsync or fdatasync, counted in a run of its own. W6: beyond the bare interpreter."
)


def main() -> int:
    options = parse()
    if options.show is not None:
        return report(options, Results.read(options.show), 0)
    results, exit_code = measure(options)
    results.write(history.kept_at(options.cache, results.machine))
    return report(options, results, exit_code)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a few rounds of everything, about ten minutes (default)")
    add("--long", action="store_true", help="more rounds and 100,000 events to rebuild from")
    add("--guard", action="store_true", help="measure only eventstate; exit 1 below the bounds in guard.py")
    add("--only", nargs="+", default=[], metavar="CASE", help="cases that begin so: w1 w2-tasks w3 ... w9")
    add("--arms", nargs="+", default=[], metavar="NAME", help="arms whose names contain one of these")
    add("--rounds", type=int, metavar="N", help="at most N rounds of each case")
    add("--slow", action="store_true", help="also the slow peer dbos, as --long does")
    add("--tmpfs", action="store_true", help="files in memory: the cost without the disk")
    add("--cache", type=Path, default=ROOT / ".bench", help="environments, seeds, data files, kept results")
    add("--json", type=Path, metavar="FILE", help="also write every measurement to FILE")
    add("--compare", type=Path, metavar="FILE", help="also show an older result beside this one")
    add("--plot", type=Path, metavar="DIR", help="also draw one SVG per workload")
    add("--docs", type=Path, metavar="DIR", help="also write table.md and the SVGs into a folder of the documentation")
    add("--show", type=Path, metavar="FILE", help="measure nothing: show, compare or draw an older result")
    return parser.parse_args()


def measure(options: argparse.Namespace) -> tuple[Results, int]:
    """What was measured, all of it or until the run was interrupted, and the exit code for that."""
    started, commit = time.monotonic(), history.commit()
    progress = Progress()
    exit_code = 0
    chosen: list[Part] = []
    try:
        with interruptible(), places(options) as where:
            chosen = parts(options, where, progress)
            steps = [step for part in chosen for step in part.steps()]
            progress.expect(steps)
            announce(steps)
            for part in chosen:
                part.run()
    except Interrupted as interrupted:
        exit_code = interrupted.exit_code
    progress.end()
    tables = sorted((table for part in chosen for table in part.tables), key=lambda table: table.name[:2])
    scale = scale_of(options)
    if not (options.slow or options.long or options.arms or options.guard):
        mention_slow(tables, cases(scale))
    machine = describe(options, commit, time.monotonic() - started, whole=is_whole(options, exit_code))
    return Results(machine=machine, tables=tables), exit_code


def parts(options: argparse.Namespace, where: Places, progress: Progress) -> list[Part]:
    """What this run measures. A new workload is one more `Part`, or cases for the `Runner`."""
    scale = scale_of(options)
    names, only = (list(guard.ARMS), list(guard.CASES)) if options.guard else (options.arms, options.only)
    chosen = select(cases(scale), only=only, arm_names=names, slow=options.slow or options.long, rounds=options.rounds)
    found: list[Part] = [Runner(chosen, where, progress)]
    if wanted("w7", only):
        rounds = options.rounds or scale.growth_rounds
        found.append(Growth(rounds=rounds, names=names, places=where, progress=progress))
    if wanted("w9", only):
        on_firestore = select(firestore_cases(scale), only=only, arm_names=names, slow=False, rounds=options.rounds)
        found.append(Firestore(on_firestore, where, progress))
    if wanted("w6", only):
        rounds = options.rounds or scale.import_rounds
        found.append(Imports(rounds=rounds, names=names, places=where, progress=progress))
    return found


def wanted(workload: str, only: Sequence[str]) -> bool:
    return not only or any(name.startswith(workload) for name in only)


def scale_of(options: argparse.Namespace) -> Scale:
    return LONG if options.long else QUICK


def is_whole(options: argparse.Namespace, exit_code: int) -> bool:
    """Whether everything was measured that this mode measures."""
    return not (options.only or options.arms or options.rounds or options.guard or exit_code)


def announce(steps: Sequence[Step]) -> None:
    thought = sum(step.count * step.seconds for step in steps)
    print(f"{sum(step.count for step in steps)} steps, {minutes(thought)} on an idle machine", file=sys.stderr)


def mention_slow(tables: Sequence[Table], every: Sequence[Case]) -> None:
    """Add a row for each arm that was left out for its slowness: what did not run is said."""
    slow = {case.name: [arm.name for arm in case.arms if arm.slow] for case in every}
    for table in tables:
        table.rows.extend(Row(arm=name, failures=["slow, add --slow"]) for name in slow.get(table.name, []))


@contextmanager
def places(options: argparse.Namespace) -> Iterator[Places]:
    """The folders of this run; what only this run needs is removed at its end."""
    cache: Path = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n", encoding="utf-8")
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    data = Path(tempfile.mkdtemp(prefix="eventstate-bench-", dir=SHARED_MEMORY)) if options.tmpfs else scratch / "data"
    data.mkdir(exist_ok=True)
    try:
        yield Places(cache=cache, data=data, scratch=scratch)
    finally:
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


def describe(options: argparse.Namespace, commit: str, seconds: float, *, whole: bool) -> dict[str, Any]:
    return {
        "commit": commit,
        "mode": "long" if options.long else "quick",
        "whole": whole,
        "files": "tmpfs" if options.tmpfs else filesystem(options.cache),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "seconds": round(seconds),
    }


def filesystem(path: Path) -> str:
    """The type of the file system that holds a path, such as ext4."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    holding = [mount for mount in mounts if path.resolve().is_relative_to(mount[1])]
    return max(holding, key=lambda mount: len(mount[1]))[2] if holding else "unknown"


def report(options: argparse.Namespace, results: Results, exit_code: int) -> int:
    """Print the tables, write what was asked for, and return the exit code."""
    print(render(results.tables))
    print("\n" + ", ".join(f"{name}: {value}" for name, value in results.machine.items()))
    print(LEGEND)
    if standing := reached(results):
        print("\n" + render_goals(standing))
    if options.compare is not None:
        print("\n" + render_comparison(Results.read(options.compare), results))
    if options.json is not None:
        results.write(options.json)
    if exit_code:
        print("\nINCOMPLETE: the run was ended before everything was measured")
        return exit_code
    if options.plot is not None:
        results.write(options.cache / "shown.json")
        plots.draw(options.cache / "shown.json", options.plot, options.cache)
    if options.docs is not None:
        pages.write(results, options.docs, options.cache)
    return report_guard(results.tables) if options.guard else 0


def report_guard(tables: Sequence[Table]) -> int:
    broken = guard.violations(tables)
    for line in broken:
        print(f"GUARD {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
