"""Seeds that are written in bulk hold what single appends would have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.arms import eventstate_arm, eventstate_bulk
from benchmarks.arms.eventstate_arm import GOVERNOR, EventstateSession
from benchmarks.arms.session import Shape, machine_name
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Key
from eventstate.runtime.blocking import drive

SHAPE = Shape(machines=3, events=7, size="small", snapshot_every=3)
OF_THEIR_TIME = ("h", "t", "at", "c", "chain")


def documents(path: Path, name: str, *, plain: bool) -> dict[str, Any]:
    """The documents of one stream, without what depends on when and by whom they were written."""
    id = f"{'plain' if plain else 'order'}-{name}"
    keys = [Key(HEAD, GOVERNOR, id)]
    keys += [Key(kind, GOVERNOR, id, n) for kind in (ENTRY, SNAPSHOT) for n in range(1, SHAPE.events + 1)]
    session = EventstateSession(path, plain=plain, shape=SHAPE)
    assert session.persister.validate_consistency().is_consistent
    found = drive(session.store.get(tuple(keys))).documents
    session.close()
    return {str(key): without(orjson.loads(found[key].body), OF_THEIR_TIME) for key in keys if found.get(key)}


def without(members: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in names}


@pytest.mark.parametrize("variant", ["events", "states"])
def test_bulk_writes_the_documents_of_appends(tmp_path: Path, variant: str) -> None:
    one_by_one, bulk = tmp_path / "one.db", tmp_path / "bulk.db"
    eventstate_arm.seed(one_by_one, SHAPE, variant=variant)
    eventstate_bulk.seed(bulk, SHAPE, variant=variant)
    for index in range(SHAPE.machines):
        name = machine_name(index)
        expected = documents(one_by_one, name, plain=variant == "states")
        assert len(expected) == 1 + 7 + 2
        assert documents(bulk, name, plain=variant == "states") == expected
