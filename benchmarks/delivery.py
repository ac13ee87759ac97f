"""`python -m benchmarks.delivery`: how soon events are delivered on SQLite, and what waiting and replaying cost.

Goals: across processes half of the events within 12 ms of their commit and 99 % within 50 ms, in one process within
1 ms; at most 1.5 % of a core for waiting, however many subscribers; a backlog at 0.4 of the speed of a raw scan with
``orjson.loads`` and twice that of the decoded notification log of eventsourcing, or more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import apsw
import orjson

from benchmarks.environments import EnvironmentFailed, interpreter
from benchmarks.processes import ROOT, call
from eventstate import ANY, StateMachinePersister, Subscription, open_store

CHILD = "benchmarks.child.delivering"
GAP_SECONDS = 0.02
IDLE_SECONDS = 10.0


class Delay(NamedTuple):
    """Milliseconds from the return of an append to the handler."""

    p50: float
    p99: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="of the backlog")
    parser.add_argument("--deliveries", type=int, default=500, help="whose delay is measured")
    parser.add_argument("--rounds", type=int, default=5, help="of the replay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        across = delay_across(Path(folder) / "across.db", options.deliveries)
        within = delay_within(Path(folder) / "within.db", options.deliveries)
        print(f"across processes:  p50 {across.p50:.2f} ms, p99 {across.p99:.2f} ms (goals 12 and 50)")
        print(f"in one process:    p50 {within.p50:.3f} ms, p99 {within.p99:.3f} ms (goal 1)")
        for subscribers in (1, 10, 100):
            answer = child("idle", url_of(Path(folder) / "idle.db"), str(subscribers), str(IDLE_SECONDS))
            print(
                f"waiting, {subscribers:>3} subscribers: {answer['share']:.2%} of a core,"
                f" {answer['pollers']} poller (goals 1.5 %, 1)"
            )
        backlog = Path(folder) / "backlog.db"
        child("seed", url_of(backlog, "?durability=off"), str(options.events))
        ratios, speed = replays(backlog, options.rounds)
        print(
            f"backlog of {options.events:,}: {speed:,.0f} events/s, {median(ratios):.2f} of a raw scan"
            f" with orjson.loads ({min(ratios):.2f} to {max(ratios):.2f}; goal 0.4)"
        )
        print(peer(Path(folder) / "peer.db", options.events, speed))
    return 0


def peer(path: Path, events: int, speed: float) -> str:
    """The speed of the peer beside ours."""
    try:
        python = interpreter("eventsourcing", ROOT / ".bench")
        output, errors = call(
            [str(python), "-m", "benchmarks.arms.eventsourcing_log", str(path), str(events)], "", timeout=900
        )
    except EnvironmentFailed as error:
        return f"eventsourcing:     not run ({error})"
    if not output:
        return f"eventsourcing:     not run ({errors.strip().splitlines()[-1:]})"
    theirs = json.loads(output)["speed"]
    return f"eventsourcing:     {theirs:,.0f} events/s decoded; eventstate {speed / theirs:.1f} times that (goal 2)"


def url_of(path: Path, options: str = "") -> str:
    return f"sqlite:///{path}{options}"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", CHILD, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def child(*arguments: str) -> Any:
    """What a process of its own prints."""
    with start(*arguments) as process:
        return line_of(process)


def delay_across(path: Path, count: int) -> Delay:
    """Another process listens, this one writes, now and then an event."""
    with open_store(url_of(path)) as store:
        persister = StateMachinePersister(store)
        with start("listen", url_of(path), str(count)) as process:
            line_of(process)
            returned = [append(persister, number) for number in range(count)]
            arrivals = line_of(process)
    return delay([arrivals[str(number)] - at for number, at in enumerate(returned)])


def delay_within(path: Path, count: int) -> Delay:
    """A thread of this process listens."""
    arrivals: dict[int, float] = {}
    ready, done = threading.Event(), threading.Event()
    with open_store(url_of(path)) as store:
        persister = StateMachinePersister(store)

        def listen() -> None:
            with Subscription(persister, start="now") as subscription:
                items = subscription.marked(idle=60)
                next(items)
                ready.set()
                for item in items:
                    arrivals[item.data["n"]] = time.clock_gettime(time.CLOCK_MONOTONIC)  # type: ignore[union-attr]
                    if len(arrivals) == count:
                        break
            done.set()

        threading.Thread(target=listen, daemon=True).start()
        ready.wait()
        returned = [append(persister, number) for number in range(count)]
        done.wait(60)
    return delay([arrivals[number] - at for number, at in enumerate(returned)])


def append(persister: StateMachinePersister, number: int) -> float:
    """When the append returned."""
    time.sleep(GAP_SECONDS)
    persister.save_state(f"m-{number % 10}", {"n": number}, expected=ANY)
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def delay(seconds: Sequence[float]) -> Delay:
    # An event may be handled before the append has returned to its caller.
    cuts = quantiles([max(value, 0.0) * 1000 for value in seconds], n=100)
    return Delay(cuts[49], cuts[98])


def replays(path: Path, rounds: int) -> tuple[list[float], float]:
    """Each round against the raw scans around it; and the best speed."""
    ratios: list[float] = []
    best = 0.0
    with open_store(url_of(path, "?durability=off")) as store:
        persister = StateMachinePersister(store)
        before = raw_scan(path)
        for _ in range(rounds):
            began = time.perf_counter()
            count = sum(1 for delivery in Subscription(persister).deliveries(until_caught_up=True) if delivery.data)
            speed = count / (time.perf_counter() - began)
            after = raw_scan(path)
            ratios.append(speed / ((before + after) / 2))
            best, before = max(best, speed), after
    return ratios, best


def raw_scan(path: Path) -> float:
    """Rows a second of the fastest way to read them all."""
    connection = apsw.Connection(str(path))
    began = time.perf_counter()
    count = 0
    for (body,) in connection.execute("SELECT body FROM entries ORDER BY position"):
        orjson.loads(body)
        count += 1
    seconds = time.perf_counter() - began
    connection.close()
    return count / seconds


if __name__ == "__main__":
    sys.exit(main())
