"""Writers that are killed and slow, subscribers that are killed and resumed: no property of a watch is violated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.subscriptions.party import Outcome, Party

READERS = {"all": "everything", "phoenix": "own", "machine": "one-machine", "action": "one-action"}


def sqlite_url(folder: Path) -> str:
    # Processes are killed here, not the machine: nothing need be synced.
    return f"sqlite:///{folder / 'store.db'}?durability=off"


def check(outcome: Outcome, *, deliveries: int, sessions: int) -> None:
    print(outcome._replace(violations=outcome.violations[:10]))
    assert outcome.violations == []
    assert outcome.deliveries >= deliveries
    assert outcome.sessions["phoenix"] >= sessions


@pytest.mark.serial
@pytest.mark.timeout(300)
@pytest.mark.backend("sqlite")
def test_a_small_party(tmp_path: Path) -> None:
    party = Party(
        sqlite_url(tmp_path),
        tmp_path,
        writers=2,
        readers=READERS,
        killed_readers=["phoenix"],
        kill_writers=3,
        kill_readers=0.3,
    )
    check(party.run(entries=800, timeout=240, sessions=2), deliveries=2000, sessions=2)


@pytest.mark.serial
@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.backend("sqlite")
def test_eight_writers_and_four_subscribers(tmp_path: Path) -> None:
    party = Party(
        sqlite_url(tmp_path), tmp_path, writers=8, readers=READERS, killed_readers=["phoenix"], kill_readers=0.5
    )
    check(party.run(entries=32_000, timeout=3000, sessions=20), deliveries=200_000, sessions=20)


@pytest.mark.serial
@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.backend("firestore")
def test_eight_writers_and_four_subscribers_on_firestore(tmp_path: Path, emulator_host: str, project_id: str) -> None:
    party = Party(
        f"firestore://{project_id}",
        tmp_path,
        writers=8,
        readers=READERS,
        killed_readers=["phoenix"],
        kill_writers=1.5,
        kill_readers=1.0,
        environment={"FIRESTORE_EMULATOR_HOST": emulator_host},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", emulator_host)
        check(party.run(entries=1200, timeout=1800, sessions=5), deliveries=5000, sessions=5)
