"""Runs transfers in processes of their own that say when they have committed, wait for a word, and are killed then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
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
    sys.stdin.readline()

target.StreamTarget.flush = told
main()
"""
"""The command line with commits of a given size; it prints a line after each, and waits for one."""


class Killing:
    """Runs commands of the command line, and kills them at random moments after a commit."""

    def __init__(self, random: Random, *, batch_bytes: int, emulator_host: str | None = None, folder: Path) -> None:
        self._random = random
        self._start = [sys.executable, "-c", CHILD, str(batch_bytes)]
        self._folder = folder
        self._env = {**os.environ, **({"FIRESTORE_EMULATOR_HOST": emulator_host} if emulator_host else {})}

    def kill(self, arguments: Sequence[str], commits: int) -> bool:
        """Run a command and kill it right after so many commits, or on its way to the next; whether it was at work."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*self._start, *arguments], cwd=self._folder, env=self._env, **pipes)
        try:
            for number in range(commits):
                if number:
                    self._go_on(process)
                assert process.stdout is not None
                if not process.stdout.readline():
                    break
            if self._random.random() < 0.5:
                self._go_on(process)
                time.sleep(self._random.choice((0, self._random.uniform(0, 0.02))))
        finally:
            process.kill()
            process.communicate()
        return process.returncode == -9

    @staticmethod
    def _go_on(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended
            process.stdin.write("\n")
            process.stdin.flush()

    def finish(self, arguments: Sequence[str]) -> Any:
        """Run a command to its end; what it says."""
        ran = subprocess.run(
            [*self._start, *arguments, "--json"],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])
