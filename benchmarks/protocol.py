"""What the runner asks of a child process. Plain JSON, so that any interpreter of any arm can answer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from benchmarks.payloads import Size

Workload: TypeAlias = Literal["append", "concurrent", "processes", "rebuild", "recover", "contended", "growth", "seed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One measurement.

    Attributes:
        module, variant, style: the arm: its module in `benchmarks.arms`, which form of it, whether callers block.
        path: the database file.
        events: events per machine: to write at most, or that the seed holds.
        machines: writers, or machines in the seed.
        seconds: a writing workload stops starting appends after this long.
        repeat: how often a read is repeated inside the process, each time on a newly opened store.
        first: the number of this process's first machine, so that several processes share no machine.
        marks: True to mark the measured part with two syncs of marker files, for a system call trace.
        wait: True to print "ready" and wait for a line before the measured part.
        parts: several stores measured by one process in alternation, each with its arm, path and shape.
    """

    workload: Workload
    module: str
    style: Literal["sync", "async"]
    path: str
    variant: str = ""
    size: Size = "small"
    machines: int = 1
    events: int = 1
    snapshot_every: int = 0
    seconds: float = 60.0
    repeat: int = 1
    first: int = 0
    marks: bool = False
    wait: bool = False
    parts: tuple[Request, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Request:
        return cls._of(json.loads(text))

    @classmethod
    def _of(cls, fields: dict[str, Any]) -> Request:
        return cls(**{**fields, "parts": tuple(cls._of(part) for part in fields["parts"])})
