"""Where task statuses stand on Firestore, and what waiting for them costs there."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from eventstate import JobTasks, StateMachinePersister, Store, TaskUpdate, open_store
from eventstate.runtime.blocking import drive

pytestmark = pytest.mark.backend("firestore")


@pytest.fixture
def store(emulator_host: str, project_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator_host)
    with open_store(f"firestore://{project_id}") as store:
        yield store


def read(emulator_host: str, project_id: str, path: str) -> Any:
    """A document as any other client of Firestore reads it."""
    url = f"http://{emulator_host}/v1/projects/{project_id}/databases/(default)/documents/{path}"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer owner"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(json.load(answer)["fields"]["body"]["stringValue"])


def test_a_status_stands_below_its_job(store: Store, emulator_host: str, project_id: str) -> None:
    tasks = JobTasks(store, "nightly", tasks=3)
    tasks.reporter(2).report(7, tag="build", message="half way")
    StateMachinePersister(store, governor="shop").save_state("cart-1", {}, expected=0)
    head = read(emulator_host, project_id, "jobs/nightly/states/build:2")
    assert head["state"] == {"status": 7, "message": "half way"}
    assert read(emulator_host, project_id, "jobs/nightly/states/job")["state"]["tasks"] == 3
    assert list(drive(store.owners())) == ["jobs/nightly", "shop"]


@pytest.mark.serial
def test_the_end_of_a_job_is_noticed_by_who_waits(store: Store) -> None:
    tasks = JobTasks(store, "nightly", tasks=1)
    found: list[TaskUpdate] = []
    with tasks.subscribe() as updates:
        thread = threading.Thread(target=lambda: found.extend(updates))
        thread.start()
        time.sleep(6)  # by now it looks at the feed every two seconds only
        tasks.close()
        closed = time.monotonic()
        thread.join(30)
        assert time.monotonic() - closed < 1.5
    assert found == []
