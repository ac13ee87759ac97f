"""Running one child process: a request in, an answer out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.protocol import Request

ROOT: Final = Path(__file__).resolve().parent.parent
TIMEOUT: Final = 240.0
"""Seconds that a measurement may take in all; seeding the slowest peer takes longest."""


class MeasurementFailed(Exception):
    """The child gave no measurement; the text says why in one line."""


def measure(
    python: Path,
    request: Request,
    *,
    prefix: Sequence[str] = (),
    timeout: float = TIMEOUT,
    module: str = "benchmarks.child",
) -> dict[str, Any]:
    """The answer of a new child process, which runs ``module``.

    Raises:
        MeasurementFailed: it failed, said nothing or took too long.
    """
    command = [*prefix, str(python), "-m", module]
    output, errors = call(command, request.to_json() + "\n", timeout=timeout)
    lines = output.splitlines()
    try:
        answer: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        answer = {}
    if not answer:
        reason = errors.strip().splitlines()[-1:] or ["the child process gave no answer"]
        raise MeasurementFailed(reason[0])
    if "error" in answer:
        raise MeasurementFailed(answer["error"])
    return answer


def call(command: Sequence[str], text: str, *, timeout: float, cwd: Path = ROOT) -> tuple[str, str]:
    """Standard output and error of a command, which is ended with all its children after ``timeout`` seconds."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=child_environment(),
        start_new_session=True,  # its own process group, so that ending it ends its children too
    )
    try:
        return child.communicate(text, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise MeasurementFailed(f"no answer within {timeout:.0f} s") from error
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def child_environment() -> Mapping[str, str]:
    """The environment of a child: eventstate is found in the checkout even where it is not installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "LANGSMITH_TRACING": "false"}
