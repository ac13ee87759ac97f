"""What a run is made of: parts that measure, each with tables that can be shown at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.progress import Step
from benchmarks.results import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """``cache`` is kept between runs; ``data`` is where measured files lie; both are made by the caller."""

    cache: Path
    data: Path
    scratch: Path


class Part(Protocol):
    """Some of the workloads. What can't be measured is noted in its row: `run` raises only where it is interrupted."""

    @property
    def tables(self) -> Sequence[Table]:
        """As far as they are filled now."""
        ...

    def steps(self) -> list[Step]:
        """What `run` will do, for the estimate of the time."""
        ...

    def run(self) -> None: ...
