"""Stores that are written once and then read by many measurements."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cases import Case
from benchmarks.environments import OWN, PEERS
from benchmarks.processes import ROOT, measure
from benchmarks.protocol import Request
from benchmarks.registry import Arm

FORMAT: Final = 1
"""Raise it when payloads or the seeding of peers change, so that kept seeds of peers are written again."""

TIMEOUT: Final = 900.0
LIBRARY: Final = ROOT / "src" / "eventstate"
BENCHMARKS: Final = ROOT / "benchmarks"
SHARED: Final = (BENCHMARKS / "payloads.py", BENCHMARKS / "arms" / "session.py", BENCHMARKS / "child" / "seeding.py")

WRITERS: Final[Mapping[str, tuple[Path, ...]]] = {
    "raw_arm": (BENCHMARKS / "arms" / "raw_arm.py",),
    "eventstate_arm": (
        BENCHMARKS / "arms" / "eventstate_arm.py",
        *(LIBRARY / layer for layer in ("core", "log", "machines", "transactions", "stores/sqlite")),
    ),
    "eventstate_bulk": (
        BENCHMARKS / "arms" / "eventstate_bulk.py",
        *(LIBRARY / layer for layer in ("core", "stores/sqlite")),
    ),
}
"""What decides how a seed of our own lies on disk: it is written again when one of these files has changed."""

EVENTS_PER_SECOND: Final[Mapping[str, int]] = {"raw_arm": 50_000, "eventstate_bulk": 20_000}
"""Of seeding, as far as it is far from `USUAL`."""

USUAL: Final = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A seeded database file and its size after a checkpoint."""

    path: Path
    bytes_per_event: float


class Seeds:
    """Seeds are kept between runs: those of peers while their pinned versions stay, our own while the code does."""

    def __init__(self, *, cache: Path) -> None:
        self._cache = cache / "seeds"
        self._digests: dict[str, str] = {}

    def get(self, arm: Arm, case: Case, python: Path) -> Seed:
        """The seed of this arm for this case, written now where it is missing.

        Raises:
            MeasurementFailed: the arm could not write it.
        """
        folder = self._folder(arm, case)
        path, done = folder / "store.db", folder / "done.json"
        if not done.exists():
            self._remove_older(folder)
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
            done.write_text(json.dumps(measure(python, request, timeout=TIMEOUT)), encoding="utf-8")
        answer = json.loads(done.read_text(encoding="utf-8"))
        return Seed(path=folder / "store" / path.name, bytes_per_event=answer["bytes_per_event"])

    def seconds(self, arm: Arm, case: Case) -> float:
        """How long `get` is likely to take."""
        if (self._folder(arm, case) / "done.json").exists():
            return 0.0
        return 0.3 + case.machines * case.events / EVENTS_PER_SECOND.get(arm.module, USUAL)

    def _folder(self, arm: Arm, case: Case) -> Path:
        """Shape before digest: what an older digest has left is found by it."""
        shape = f"{case.machines}x{case.events}-{case.size}-{case.snapshot_every}"
        if arm.environment == OWN:
            return self._cache / f"{arm.module}-{arm.variant}-{shape}" / self._digest(arm.module)
        digests = "-".join((*(pins.digest for pins in PEERS[arm.environment]), str(FORMAT)))
        return self._cache / f"{arm.environment}-{shape}" / digests

    def _digest(self, module: str) -> str:
        if module not in self._digests:
            self._digests[module] = digest(sources((*SHARED, *WRITERS[module])))
        return self._digests[module]

    def _remove_older(self, folder: Path) -> None:
        """A large seed is some hundred megabytes: one of each kind is kept."""
        if folder.parent.exists():
            shutil.rmtree(folder.parent)


def sources(places: Iterable[Path]) -> list[Path]:
    """The Python files among and below these, in a fixed order."""
    return sorted(file for place in places for file in ((place,) if place.is_file() else place.rglob("*.py")))


def digest(files: Iterable[Path]) -> str:
    """Changes with the content of the files."""
    hashed = hashlib.sha256()
    for file in files:
        hashed.update(hashlib.sha256(file.read_bytes()).digest())
    return hashed.hexdigest()[:12]
