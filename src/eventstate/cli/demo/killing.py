"""Processes that are killed at random moments and started again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

STEP_SECONDS = 0.1


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A Python process of ours, its standard output closed; what lies in the current folder is not imported."""
    return subprocess.Popen([sys.executable, "-P", "-m", module, *arguments], stdout=subprocess.DEVNULL)


@dataclass(slots=True, kw_only=True)
class Herd:
    """Some processes that are kept running while they are killed one after the other.

    Attributes:
        start: starts the process of a slot; its second argument counts the slot's processes.
        pause: shortest and longest time between kills, in seconds.
        died: exit codes of processes that ended by themselves, which they should not.
    """

    slots: int
    start: Callable[[int, int], subprocess.Popen[bytes]]
    random: Random
    pause: tuple[float, float] = (0.2, 1.0)
    kills: int = 0
    died: list[int] = field(default_factory=list[int])

    def run(self, seconds: float, tick: Callable[[float], None]) -> None:
        """Kill and restart for so long, telling ``tick`` the seconds gone; then kill all at once."""
        counts = [1] * self.slots
        processes = [self.start(slot, 1) for slot in range(self.slots)]
        started = time.monotonic()
        next_kill = self.random.uniform(*self.pause)
        try:
            while (gone := time.monotonic() - started) < seconds:
                tick(gone)
                if gone >= next_kill:
                    self._kill(processes[self.random.randrange(self.slots)])
                    next_kill = gone + self.random.uniform(*self.pause)
                for slot, process in enumerate(processes):
                    if process.poll() is not None:
                        self._note(process)
                        counts[slot] += 1
                        processes[slot] = self.start(slot, counts[slot])
                time.sleep(STEP_SECONDS)
        finally:
            self._end(processes)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
            process.wait()
            self.kills += 1

    def _note(self, process: subprocess.Popen[bytes]) -> None:
        if process.returncode >= 0:
            self.died.append(process.returncode)

    def _end(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            if process.poll() is None:
                process.kill()
                self.kills += 1
        for process in processes:
            process.wait()
            self._note(process)
