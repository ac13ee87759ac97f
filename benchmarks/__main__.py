"""`python -m benchmarks`: one table from one run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import guard, plots
from benchmarks.cases import LONG, QUICK, Case, cases, select
from benchmarks.imports import IMPORTS, measure_imports
from benchmarks.processes import ROOT
from benchmarks.results import Row, Table
from benchmarks.runner import Places, Runner
from benchmarks.table import render

SHARED_MEMORY = Path("/dev/shm")


def main() -> int:
    options = parse()
    if options.plot is not None:
        plots.require()  # a missing library is told now, not after minutes
    started = time.monotonic()
    scale = LONG if options.long else QUICK
    names, only = (list(guard.ARMS), list(guard.CASES)) if options.guard else (options.arms, options.only)
    chosen = select(cases(scale), only=only, arm_names=names, slow=options.slow or options.long, rounds=options.rounds)
    with places(options) as where:
        progress = Progress()
        runner = Runner(chosen, where, progress)
        progress.steps = runner.steps()
        tables = runner.run()
        if not (options.slow or options.long or names):
            mention_slow(tables, cases(scale))
        if not only or "w6" in only:
            rounds = options.rounds or scale.import_rounds
            progress.steps += (rounds + 1) * len(IMPORTS)
            tables.append(
                measure_imports(rounds=rounds, cache=where.cache, data=where.data, names=names, progress=progress)
            )
        progress.end()
    machine = describe(options, time.monotonic() - started)
    print(render(tables))
    print("\n" + ", ".join(f"{name}: {value}" for name, value in machine.items()))
    print(LEGEND)
    if options.json is not None:
        write_json(options.json, machine, tables)
    if options.plot is not None:
        plots.plot(tables, options.plot)
    return report_guard(tables) if options.guard else 0


def mention_slow(tables: Sequence[Table], every: Sequence[Case]) -> None:
    """Add a row for each arm that was left out for its slowness: what did not run is said."""
    slow = {case.name: [arm.name for arm in case.arms if arm.slow] for case in every}
    for table in tables:
        table.rows.extend(Row(arm=name, failures=["slow, add --slow"]) for name in slow.get(table.name, []))


LEGEND = (
    "x raw: median over rounds of a measurement against the two raw ones around it, 1 is equal, more is better"
    " (bytes: raw / arm); the range of the raw row against itself is the noise.\n"
    "per sync: appends per fsync or fdatasync, counted in a run of its own. W6: beyond the bare interpreter."
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds of everything, about five minutes (default)")
    parser.add_argument("--long", action="store_true", help="more rounds and 100,000 events to rebuild from")
    parser.add_argument(
        "--guard", action="store_true", help="measure only eventstate; exit 1 below the bounds in guard.py"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="CASE", help="cases that begin so: w1 w2-tasks w3 ... w6"
    )
    parser.add_argument("--arms", nargs="+", default=[], metavar="NAME", help="arms whose names contain one of these")
    parser.add_argument("--rounds", type=int, metavar="N", help="at most N rounds of each case")
    parser.add_argument("--slow", action="store_true", help="also the slow peer dbos, as --long does")
    parser.add_argument("--tmpfs", action="store_true", help="files in memory: the cost without the disk")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="environments, seeds and data files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement as JSON")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="also draw charts (needs matplotlib)")
    return parser.parse_args()


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


class Progress:
    """One line on standard error, rewritten on a terminal."""

    def __init__(self) -> None:
        self.steps = 0
        self._done = 0
        self._start = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        self._done += 1
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        line = f"[{self._done}/{self.steps} {minutes}:{seconds:02}] {text}"
        if self._terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def describe(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    return {
        "mode": "long" if options.long else "quick",
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


def write_json(file: Path, machine: dict[str, Any], tables: Sequence[Table]) -> None:
    content = {"machine": machine, "cases": [table.to_json() for table in tables]}
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")


def report_guard(tables: Sequence[Table]) -> int:
    broken = guard.violations(tables)
    for line in broken:
        print(f"GUARD {line}")
    return 1 if broken else 0


sys.exit(main())
