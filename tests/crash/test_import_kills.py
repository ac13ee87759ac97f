"""An import that is killed twenty times appends every row once, in file order."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eventstate import StateMachinePersister, open_store

KILLS = 20
ROWS = 40_000
LONG_STREAM = 5_000
ATTEMPT_SECONDS = 20.0

Row = dict[str, str]


def make_log(random: Random) -> list[Row]:
    """Rows with times that tie and go back, many short streams, and a long one spread over the file."""
    began = datetime(2024, 1, 1, tzinfo=UTC)
    streams = ["long"] * LONG_STREAM + [f"s{random.randrange(3_000)}" for _ in range(ROWS - LONG_STREAM)]
    random.shuffle(streams)
    return [
        {
            "case": stream,
            "activity": random.choice(("made", "sold", "returned")),
            "at": (began + timedelta(minutes=n // 50 - random.randrange(3) * 60)).isoformat(),
            "n": str(n),
            "note": "x" * random.randrange(60),
        }
        for n, stream in enumerate(streams)
    ]


def write_log(path: Path, rows: Sequence[Row]) -> None:
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


class Imports:
    """Starts imports of one file into one store, and kills them."""

    def __init__(self, file: Path, folder: Path, random: Random) -> None:
        self.store = folder / "store.db"
        self.url = f"sqlite:///{self.store}"
        self.log = folder / "store.db-wal"
        self.random = random
        columns = ("--state-id", "case", "--action", "activity", "--time", "at")
        self.command = [sys.executable, "-m", "eventstate", "import", str(file), *columns, "--url", self.url, "--json"]

    def kill_one(self) -> bool:
        """Start an import and kill it at a random moment, mostly while it commits; whether it was still at work."""
        before = self._written_at()
        with subprocess.Popen(self.command, stdout=subprocess.DEVNULL) as process:
            if self.random.random() < 0.25:
                time.sleep(self.random.uniform(0.05, 0.6))
            else:
                self._await_commit(process, before)
                time.sleep(self.random.uniform(0, 0.08))
            process.kill()
            process.wait()
        return process.returncode == -9

    def _await_commit(self, process: subprocess.Popen[bytes], before: int) -> None:
        deadline = time.monotonic() + ATTEMPT_SECONDS
        while process.poll() is None and self._written_at() == before and time.monotonic() < deadline:
            time.sleep(0.001)

    def _written_at(self) -> int:
        return self.log.stat().st_mtime_ns if self.log.exists() else 0

    def look(self) -> dict[str, Any]:
        """Verify, which opens the store read-only: nobody has tidied up after the last kill."""
        return self._run([sys.executable, "-m", "eventstate", "verify", "--url", self.url, "--json"])

    def finish(self) -> dict[str, Any]:
        return self._run(self.command)

    def _run(self, command: list[str]) -> dict[str, Any]:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


@pytest.mark.serial
@pytest.mark.backend("sqlite")
def test_every_row_once_and_in_order(fast_folder: Path) -> None:
    random = Random(20)
    rows = make_log(random)
    file = fast_folder / "log.csv"
    write_log(file, rows)
    imports = Imports(file, fast_folder, random)

    kills = sum(imports.kill_one() for _ in range(KILLS))
    seen = imports.look()
    done = imports.finish()

    assert kills == KILLS
    assert seen["is_consistent"]
    assert seen["events"] == done["skipped"] > 0
    assert done["imported"] > 0
    assert done["skipped"] + done["imported"] == done["total"] == ROWS
    check_store(imports.url, rows)
    assert imports.finish()["imported"] == 0


def check_store(url: str, rows: Sequence[Row]) -> None:
    """Exactly the rows, those of each stream in file order, with their times; every digest right."""
    expected: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for row in rows:
        expected[row["case"]].append((row["activity"], row["n"], row["at"]))
    with open_store(url) as store:
        persister = StateMachinePersister(store)
        for id, wanted in expected.items():
            found = [
                (event.action, event.to_state["n"], event.effective_at.isoformat()) for event in persister.history(id)
            ]
            assert found == wanted
        stats = persister.get_stats()
        assert (stats.total_states, stats.total_events) == (len(expected), len(rows))
        report = persister.validate_consistency()
    assert report.is_consistent
    assert report.total_events == len(rows)
