"""How many appends share one sync to disk: counted from the system calls of a child process."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.child.marks import BEGIN, END
from benchmarks.processes import MeasurementFailed, measure
from benchmarks.protocol import Request


def appends_per_sync(python: Path, request: Request) -> float:
    """Appends divided by the fsync and fdatasync calls made between the first and the last of them.

    A run of its own, because tracing slows each sync down a little; checkpoints are inside the count.

    Raises:
        MeasurementFailed: no strace on this machine, or it may not trace.
    """
    strace = shutil.which("strace")
    if strace is None:
        raise MeasurementFailed("strace is not installed")
    trace = Path(request.path).with_name("syncs.txt")
    prefix = (strace, "-f", "-y", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(trace))
    answer = measure(python, replace(request, marks=True), prefix=prefix)
    with trace.open(encoding="utf-8", errors="replace") as lines:
        syncs = count(lines)
    if syncs == 0:
        raise MeasurementFailed("the trace shows no sync")
    return answer["events"] / syncs


def count(lines: Iterable[str]) -> int:
    """Calls between the two marks; a call that another thread interrupted has two lines, of which one is counted."""
    calls, inside = 0, False
    for line in lines:
        if "resumed>" in line or "sync(" not in line:
            continue
        if END in line:
            return calls
        if inside:
            calls += 1
        inside = inside or BEGIN in line
    return calls
