"""Stores that are written once and then read by many measurements."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.environments import OWN, PEERS
from benchmarks.processes import measure
from benchmarks.protocol import Request
from benchmarks.registry import Arm

FORMAT = 1
"""Raise it when payloads or seeding change, so that kept seeds of peers are written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A seeded database file and its size after a checkpoint."""

    path: Path
    bytes_per_event: float


class Seeds:
    """Peers' seeds are kept between runs, because their versions are pinned; our own are written anew in each run."""

    def __init__(self, *, cache: Path, scratch: Path) -> None:
        self._cache = cache / "seeds"
        self._scratch = scratch / "seeds"

    def get(self, arm: Arm, case: Case, python: Path) -> Seed:
        """The seed of this arm for this case, written now where it is missing.

        Raises:
            MeasurementFailed: the arm could not write it.
        """
        folder = self._folder(arm, case)
        path, done = folder / "store.db", folder / "done.json"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "store").mkdir(parents=True)
            request = Request(
                workload="seed",
                module=arm.module,
                style=arm.style,
                variant=arm.variant,
                path=str(folder / "store" / path.name),
                size=case.size,
                machines=case.machines,
                events=case.events,
                snapshot_every=case.snapshot_every,
            )
            done.write_text(json.dumps(measure(python, request, timeout=600)), encoding="utf-8")
        answer = json.loads(done.read_text(encoding="utf-8"))
        return Seed(path=folder / "store" / path.name, bytes_per_event=answer["bytes_per_event"])

    def _folder(self, arm: Arm, case: Case) -> Path:
        shape = f"{case.machines}x{case.events}-{case.size}-{case.snapshot_every}"
        if arm.environment == OWN:
            return self._scratch / f"{arm.module}-{arm.variant}-{shape}"
        digests = "-".join(pins.digest for pins in PEERS[arm.environment])
        return self._cache / f"{arm.environment}-{digests}-{FORMAT}-{shape}"
