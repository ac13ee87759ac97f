"""W2 across processes: the same file written by several processes, each with its share of the writers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

from benchmarks.protocol import Request

PROCESSES = 4


def run(request: Request) -> dict[str, Any]:
    """All processes open the store and warm up, then start together."""
    share = request.machines // PROCESSES
    children = [
        _start(replace(request, workload="concurrent", machines=share, first=index * share, wait=True))
        for index in range(PROCESSES)
    ]
    try:
        for child in children:
            _await_ready(child)
        for child in children:
            _stdin(child).write("go\n")
            _stdin(child).flush()
        answers = [_answer(child) for child in children]
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.communicate()  # closes its pipes and waits
    return _merged(answers)


def _start(request: Request) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.child"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _stdin(child).write(request.to_json() + "\n")
    _stdin(child).flush()
    return child


def _stdin(child: subprocess.Popen[str]) -> Any:
    assert child.stdin is not None
    return child.stdin


def _await_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line == "ready\n":
            return
        if line.startswith('{"error"'):
            raise RuntimeError(json.loads(line)["error"])
    raise RuntimeError("a writer process ended before it was ready")


def _answer(child: subprocess.Popen[str]) -> dict[str, Any]:
    lines = child.communicate()[0].splitlines()
    answer: dict[str, Any] = json.loads(lines[-1]) if lines else {"error": "a writer process gave no answer"}
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


def _merged(answers: list[dict[str, Any]]) -> dict[str, Any]:
    events = sum(answer["events"] for answer in answers)
    seconds = max(answer["stop"] for answer in answers) - min(answer["start"] for answer in answers)
    ordered = sorted(answers, key=lambda answer: answer["p50_us"])
    return {
        "events": events,
        "rate": events / seconds,
        "p50_us": ordered[len(ordered) // 2]["p50_us"],
        "p99_us": max(answer["p99_us"] for answer in answers),
        "errors": sum(answer["errors"] for answer in answers),
        "first_error": next((answer["first_error"] for answer in answers if answer["first_error"]), ""),
        "facts": answers[0]["facts"],
    }
