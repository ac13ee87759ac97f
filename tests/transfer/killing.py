"""Runs transfers in processes of their own that say when they have committed, and are killed then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

CHILD = """
import sys
from eventstate.cli import main
from eventstate.log.transfer import target

target.BATCH_BYTES = int(sys.argv.pop(1))
flush = target.StreamTarget.flush

async def told(self):
    await flush(self)
    print("committed", flush=True)

target.StreamTarget.flush = told
main()
"""
"""The command line with commits of a given size; it prints a line after each."""


class Killing:
    """Runs commands of the command line, and kills them at random moments after a commit."""

    def __init__(self, random: Random, *, batch_bytes: int, emulator_host: str | None = None, folder: Path) -> None:
        self._random = random
        self._start = [sys.executable, "-c", CHILD, str(batch_bytes)]
        self._folder = folder
        self._env = {**os.environ, **({"FIRESTORE_EMULATOR_HOST": emulator_host} if emulator_host else {})}

    def kill(self, arguments: Sequence[str], commits: int) -> bool:
        """Run a command and kill it after so many commits, or a moment later; whether it was still at work."""
        with subprocess.Popen(
            [*self._start, *arguments], cwd=self._folder, env=self._env, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(commits):
                if not process.stdout.readline():
                    break
            time.sleep(self._random.choice((0, 0, self._random.uniform(0, 0.02))))
            process.kill()
            process.wait()
        return process.returncode == -9

    def finish(self, arguments: Sequence[str]) -> Any:
        """Run a command to its end; what it says."""
        ran = subprocess.run(
            [*self._start, *arguments, "--json"],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])
