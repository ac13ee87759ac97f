"""Copies and imports that are killed again and again end with the same bytes, and leave sound streams at any moment."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from eventstate import StateMachinePersister, StreamTransfer, open_store
from tests.transfer.killing import Killing

STREAMS = 200
LONG = 1_200


def fill(url: str, random: Random, long: int = LONG) -> None:
    """Many short streams, and one that takes several commits."""
    with open_store(f"{url}?durability=off") as store:
        persister = StateMachinePersister(store, snapshot_every=50)
        state = persister.save_state("m-long", {"n": 0, "text": "x" * 400}, expected=0)
        for number in range(1, long):
            state = persister.update_state("m-long", {"n": number, "text": str(number) * 100}, expected=state)
        for number in range(STREAMS):
            state = persister.save_state(f"s-{random.randrange(10**9)}", {"n": 0}, expected=0)
            for step in range(random.randrange(12)):
                state = persister.update_state(state.id, {"n": step, "of": number}, expected=state)


@pytest.mark.serial
@pytest.mark.backend("sqlite")
@pytest.mark.parametrize("what", ["copy", "import-stream"])
@pytest.mark.parametrize("times", [5, pytest.param(60, marks=[pytest.mark.torture, pytest.mark.timeout(900)])])
def test_a_killed_transfer_goes_on(fast_folder: Path, what: str, times: int) -> None:
    random = Random(times)
    source, target = fast_folder / "a.db", fast_folder / "b.db"
    urls = [f"sqlite:///{path}" for path in (source, target)]
    fill(urls[0], random, LONG * (4 if times > 5 else 1))
    export = fast_folder / "a.jsonl"
    with open_store(urls[0]) as store:
        whole = StreamTransfer(store).export_file(export)
    arguments = ["copy", *urls] if what == "copy" else ["import-stream", str(export), "--url", urls[1]]
    killing = Killing(random, batch_bytes=20_000, folder=fast_folder)

    killed = 0
    reached: list[int] = []
    for _ in range(times):
        killed += killing.kill(arguments, random.randrange(1, 6))
        with open_store(urls[1]) as store:
            persister = StateMachinePersister(store)
            assert persister.validate_consistency().is_consistent
            reached.append(persister.get_stats().total_events)
    done = killing.finish(arguments)

    assert killed >= 3
    assert reached == sorted(reached)
    assert any(0 < events < whole.events for events in reached)
    assert done["streams"] + done["streams_there"] == whole.streams
    with open_store(urls[1]) as store:
        StreamTransfer(store).export_file(fast_folder / "b.jsonl")
        assert StateMachinePersister(store).validate_consistency().is_consistent
    assert (fast_folder / "b.jsonl").read_bytes() == export.read_bytes()
    assert killing.finish(arguments)["streams"] == 0
