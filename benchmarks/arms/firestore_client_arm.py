"""Google's client library as it is meant to be used: native maps; the same two writes with the same preconditions."""

# pyright: basic
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from google.cloud import firestore

from benchmarks.arms.firestore_place import COLLECTION, place
from benchmarks.arms.session import Shape
from benchmarks.payloads import CHANGED_BY, REASON, State


class Writes:
    """Fills the batches, and keeps the revisions that heads were last given."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._root = client.collection(COLLECTION).document("one")
        self._revisions: dict[str, Any] = {}
        self.heads = self._root.collection("heads")

    def batch(self, machine: str, before: int, value: State) -> Any:
        batch = self._client.batch()
        entry = {
            "type": "Changed",
            "data": value,
            "changed_by": CHANGED_BY,
            "reason": REASON,
            "at": firestore.SERVER_TIMESTAMP,
        }
        batch.create(self._root.collection("entries").document(f"{machine}!{before + 1:012}"), entry)
        head = self.heads.document(machine)
        revision = self._revisions.get(machine)
        if revision is None:
            batch.create(head, value)
        else:
            batch.update(head, value, option=self._client.write_option(last_update_time=revision))
        return batch

    def committed(self, machine: str, results: Any) -> None:
        self._revisions[machine] = results[1].update_time


class ClientSession:
    def __init__(self, path: Path) -> None:
        host, project = place(path)
        os.environ["FIRESTORE_EMULATOR_HOST"] = host
        self._client = firestore.Client(project=project)
        self._writes = Writes(self._client)

    def append(self, machine: str, before: int, state: State) -> None:
        self._writes.committed(machine, self._writes.batch(machine, before, state).commit())

    def rebuild(self, machine: str) -> int:
        found: Any = self._writes.heads.document(machine).get()
        return found.to_dict()["n"]

    def recover(self) -> tuple[int, int]:
        found = [one.to_dict()["n"] for one in self._writes.heads.stream()]
        return len(found), sum(found)

    def facts(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        self._client.close()


class AsyncClientSession:
    def __init__(self, path: Path) -> None:
        host, project = place(path)
        os.environ["FIRESTORE_EMULATOR_HOST"] = host
        self._client = firestore.AsyncClient(project=project)
        self._writes = Writes(self._client)

    async def append(self, machine: str, before: int, state: State) -> None:
        self._writes.committed(machine, await self._writes.batch(machine, before, state).commit())

    async def rebuild(self, machine: str) -> int:
        return (await self._writes.heads.document(machine).get()).to_dict()["n"]

    async def recover(self) -> tuple[int, int]:
        found = [one.to_dict()["n"] async for one in self._writes.heads.stream()]
        return len(found), sum(found)

    async def facts(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        await self._client._firestore_api.transport.close()  # what its own close leaves open


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> ClientSession:
    return ClientSession(path)


async def open_async(path: Path, *, variant: str, shape: Shape | None) -> AsyncClientSession:
    return AsyncClientSession(path)
