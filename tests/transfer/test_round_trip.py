"""An imported log from SQLite to Firestore and back: equal to the byte, though the copies are killed on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from tests.cli.conftest import Cli
from tests.transfer.killing import Killing

ROWS = 5_000
STREAMS = 600


def write_log(path: Path, random: Random) -> None:
    """Rows as an incident desk leaves them: a few long cases, many short ones."""
    began = datetime(2024, 1, 1, tzinfo=UTC)
    lines = ["case,what,when,who,impact"]
    for number in range(ROWS):
        case = "long" if random.random() < 0.1 else f"1-{random.randrange(STREAMS) * 7919}"
        what = random.choice(("Accepted", "Queued", "Completed"))
        at = began + timedelta(minutes=number // 3)
        lines.append(f"{case},{what},{at.isoformat()},Zoë {number % 40},{random.choice(('High', 'Low'))}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.serial
@pytest.mark.backend("firestore")
def test_a_log_goes_to_firestore_and_back(
    tmp_path: Path, emulator_host: str, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator_host)
    random = Random(11)
    write_log(tmp_path / "log.csv", random)
    first, last = (Cli(f"sqlite:///{tmp_path / name}.db") for name in "ab")
    middle = Cli(f"firestore://{project_id}")
    columns = ("--state-id", "case", "--action", "what", "--time", "when", "--changed-by", "who")
    first("import", str(tmp_path / "log.csv"), *columns)

    killing = Killing(random, batch_bytes=60_000, emulator_host=emulator_host, folder=tmp_path)
    for one, other in ((first, middle), (middle, last)):
        assert killing.kill(["copy", one.url, other.url], random.randrange(1, 4))
        done = one.run(["copy", one.url, other.url, "--json"], 0).json
        assert done["streams"] > 0
        assert done["streams_there"] > 0
        assert done["streams_behind"] == 0

    exports = [tmp_path / name for name in "afb"]
    for store, file in zip((first, middle, last), exports, strict=True):
        store("export", str(file))
    assert exports[0].read_bytes() == exports[1].read_bytes() == exports[2].read_bytes()
    verified = last("verify", "--json").json
    assert verified["is_consistent"]
    assert verified["events"] == ROWS
    assert last("stats", "--json").json == first("stats", "--json").json
