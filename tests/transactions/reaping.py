"""Processes that work until they are killed at a random moment, and are born again.

``python reaping.py MODULE FOLDER SEED KILLS TARGET LIFE NAMES LIMIT`` forks a process for each name, which calls
``MODULE.work(FOLDER, NAME, NUMBER)``; kills them by chance, each after up to LIFE seconds; and goes on until it has
killed KILLS of them and ``MODULE.count(FOLDER)`` says TARGET, or for LIMIT seconds. It never opens a store itself: only
its children do. Where that many have been killed before enough is done they live longer, as a slow machine needs.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

ERRORS = "errors.txt"
PATIENCE = 60.0


class Life(NamedTuple):
    pid: int
    end: float


class Reaper:
    """Keeps workers alive, and kills them."""

    def __init__(
        self, work: Callable[[Path, str, int], None], folder: Path, *, seed: int, kills: int, life: float
    ) -> None:
        self._work = work
        self._folder = folder
        self._chance = random.Random(seed)
        self._life = life
        self._wanted = kills
        self._lives: dict[str, Life] = {}
        self._births = count(1)
        self.kills = 0
        self.has_failed = False

    def run(self, names: list[str], is_enough: Callable[[], bool], deadline: float) -> None:
        try:
            while not self.has_failed and (self.kills < self._wanted or not is_enough()):
                for name in names:
                    if name not in self._lives:
                        self._lives[name] = self._born(name)
                time.sleep(0.01)
                self._look()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.kills} kills of {self._wanted}, and not enough done")
        finally:
            for name in list(self._lives):
                self._kill(name)

    def _look(self) -> None:
        for name, life in list(self._lives.items()):
            pid, status = os.waitpid(life.pid, os.WNOHANG)
            if pid:
                self._ended(name, status)
            elif life.end <= time.monotonic():
                self._kill(name)

    def _born(self, name: str) -> Life:
        number = next(self._births)
        pid = os.fork()
        if pid == 0:
            try:
                self._work(self._folder, name, number)
            except BaseException:
                with (self._folder / ERRORS).open("a") as file:
                    file.write(traceback.format_exc())
            finally:
                os._exit(1)
        longest = self._life * max(1.0, self.kills / self._wanted)
        return Life(pid, time.monotonic() + self._chance.uniform(0.02, longest))

    def _kill(self, name: str) -> None:
        os.kill(self._lives[name].pid, signal.SIGKILL)
        self._ended(name, os.waitpid(self._lives[name].pid, 0)[1])

    def _ended(self, name: str, status: int) -> None:
        del self._lives[name]
        if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
            self.kills += 1
        else:
            self.has_failed = True


def reap(
    module: str, folder: Path, *, seed: int, kills: int, target: int, life: float, names: str, limit: float
) -> int:
    """Have it done by a process of its own; how many kills there were."""
    command = [sys.executable, __file__, module, str(folder), str(seed), str(kills), str(target), str(life), names]
    done = subprocess.run(
        [*command, str(limit)], stdout=subprocess.PIPE, text=True, timeout=limit + PATIENCE, check=False
    )
    errors = folder / ERRORS
    assert not errors.exists(), f"seed {seed}: a worker failed\n{errors.read_text()[-6000:]}"
    assert done.returncode == 0, f"seed {seed}: the reaper failed"
    return json.loads(done.stdout)["kills"]


def main(name: str, folder: str, seed: str, kills: str, target: str, life: str, names: str, limit: str) -> None:
    module: Any = importlib.import_module(name)
    place = Path(folder)
    reaper = Reaper(module.work, place, seed=int(seed), kills=int(kills), life=float(life))
    deadline = time.monotonic() + float(limit)
    reaper.run(names.split(","), lambda: module.count(place) >= int(target), deadline)
    print(json.dumps({"kills": reaper.kills}), flush=True)
    sys.exit(int(reaper.has_failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
