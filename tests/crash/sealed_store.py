"""A small store with sealed streams, and what its states must be."""

from __future__ import annotations

from pathlib import Path

import orjson

from eventstate import AppendTo, Event, SealManager, StateMachinePersister, open_store
from eventstate.core.format import Image

GOVERNOR = "default"
STREAMS = 8
VERSIONS = 24
SEALED = 18
"""The version of every stream when the last seal was taken."""
LISTED = (10, 15, 20)
"""Versions of the snapshots that are kept."""


def state_at(id: str, version: int) -> dict[str, object]:
    """The state of a stream at a version."""
    return {"id": id, "n": version, "text": f"état {version}" * (version % 4 + 1), "list": [version, None]}


def image_at(id: str, version: int) -> Image:
    """The same as a head or a snapshot keeps it."""
    return Image(orjson.dumps(state_at(id, version)), 0, 1)


def make(file: Path) -> None:
    """Streams with a seal in their youth, one at `SEALED`, and events after it."""
    with open_store(f"sqlite:///{file}?durability=off") as store:
        persister = StateMachinePersister(store, governor=GOVERNOR, snapshot_every=5, keep_snapshots=3)
        seals = SealManager(store, governor=GOVERNOR)
        for version in range(1, VERSIONS + 1):
            appends = [
                AppendTo(id, Event("set", state=state_at(id, version)), expected=version - 1)
                for id in (f"doc-{n}" for n in range(STREAMS))
            ]
            persister.append_together(*appends, changed_by="kim", reason="test")
            if version in (SEALED // 2, SEALED):
                seals.seal(keep=1)
