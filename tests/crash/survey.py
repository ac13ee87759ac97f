"""Judge crash states one by one and count the verdicts."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eventstate.testing.crashstates import CrashState


class Verdict(enum.Enum):
    """What a reader finds after a power loss."""

    INTACT = "intact"
    LOST = "lost"
    """Something acknowledged is missing; what is there is consistent."""
    CORRUPT = "corrupt"
    """It can't be read, or is not what was written."""


Check = Callable[[CrashState, Path], Verdict]


@dataclass
class Survey:
    """How many states had which verdict, and the first ones that were not intact."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def states(self) -> int:
        return self.counts.total()

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts[verdict]} {verdict.value}" for verdict in Verdict)
        return "\n".join([f"{self.states} states: {counts}", *self.examples])


def survey(states: Iterable[CrashState], folder: Path, check: Check) -> Survey:
    """Lay each state out in ``folder`` and judge it."""
    folder.mkdir(exist_ok=True)
    result = Survey()
    for state in states:
        state.write_to(folder)
        verdict = check(state, folder)
        result.counts[verdict] += 1
        if verdict is not Verdict.INTACT and len(result.examples) < 5:
            result.examples.append(f"  {verdict.value} after operation {state.operation}, seed {state.seed}")
    return result
