"""The line on standard error that says how far a run is, and how long the rest will take."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, TextIO

TRUST: Final = 10.0
"""Seconds that must have passed until what was measured counts as much as what was thought before."""


class Step(NamedTuple):
    """What is done ``count`` times, and the seconds that it is thought to take before it was done once.

    Steps of one ``kind`` are slower or faster than thought by about as much.
    """

    name: str
    count: int
    seconds: float
    kind: str = "measurement"


class Progress:
    """Told before each measurement what comes. On a terminal its one line is rewritten.

    The rest is estimated from what this run has measured: a kind of step that was made takes as long as it took on
    average, the others as long as thought, times how far thoughts of its kind were off.
    """

    def __init__(self, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._clock = clock
        self._start = clock()
        self._steps: dict[str, Step] = {}
        self._left: Counter[str] = Counter()
        self._made: Counter[str] = Counter()
        self._took: dict[str, float] = {}
        self._current: tuple[str, float] | None = None

    def expect(self, steps: list[Step]) -> None:
        """Add steps that are still to come."""
        for step in steps:
            self._steps[step.name] = step
            self._left[step.name] += step.count

    def __call__(self, step: str, text: str) -> None:
        """A step begins, and the one before it has ended; ``text`` says what it is."""
        self._end_current()
        self._current = (step, self._clock())
        self._left[step] = max(0, self._left[step] - 1)
        made, whole = self._made.total() + 1, self._made.total() + 1 + self._left.total()
        line = (
            f"[{made}/{whole}, {minutes(self._clock() - self._start)}, about {minutes(self.remaining())} left] {text}"
        )
        before, after = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        print(f"{before}{line}", end=after, file=self._stream, flush=True)

    def drop(self, step: str) -> None:
        """One step of this kind will not be made."""
        self._left[step] = max(0, self._left[step] - 1)

    def end(self) -> None:
        self._end_current()
        if self._terminal:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def remaining(self) -> float:
        """Seconds that the steps to come, and the one that has begun, are likely to take."""
        off = {kind: self._off(kind) for kind in {step.kind for step in self._steps.values()}}
        each = {name: self._each(step, off[step.kind]) for name, step in self._steps.items()}
        rest = sum(each.get(name, 0.0) * left for name, left in self._left.items())
        if self._current is not None:
            name, began = self._current
            rest += max(0.0, each.get(name, 0.0) - (self._clock() - began))
        return rest

    def _off(self, kind: str) -> float:
        """How many times longer than thought the steps of a kind have taken."""
        made = [step for step in self._steps.values() if step.kind == kind and self._made[step.name]]
        thought = sum(step.seconds * self._made[step.name] for step in made)
        took = sum(self._took[step.name] for step in made)
        return (took + TRUST) / (thought + TRUST)

    def _each(self, step: Step, off: float) -> float:
        made = self._made[step.name]
        return self._took[step.name] / made if made else step.seconds * off

    def _end_current(self) -> None:
        if self._current is not None:
            name, began = self._current
            self._took[name] = self._took.get(name, 0.0) + self._clock() - began
            self._made[name] += 1
        self._current = None


def minutes(seconds: float) -> str:
    whole, rest = divmod(int(seconds), 60)
    return f"{whole}:{rest:02}"
