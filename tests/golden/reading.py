"""What a golden store holds, as today's code reads it.

``python -m tests.golden.reading FILE GOVERNOR`` prints it as JSON. It works on a copy, and says of each stream every
version's state and event in a form that does not depend on the order of sets, hash seeds or time zones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from eventstate import (
    Event,
    EventStateError,
    LockManager,
    SealManager,
    StateDeletedError,
    StateMachinePersister,
    TransactionManager,
    VersionNotFoundError,
    open_store,
)
from eventstate.core.documents import HEAD, KINDS, Key
from eventstate.core.format import decode_head
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from tests.golden.today import MACHINES


def read(file: Path, governor: str) -> dict[str, Any]:
    """Everything in a copy of a store."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "golden.db"
        shutil.copyfile(file, copy)
        with open_store(f"sqlite:///{copy}?mode=ro") as store:
            persister = StateMachinePersister(store, governor=governor, machines=MACHINES)
            report = persister.validate_consistency()
            recovered = {found.id: found.status for found in persister.recover()}
            return {
                "findings": [str(finding) for finding in report.findings],
                "verified": [report.total_streams, report.total_events, report.total_snapshots, report.sealed_streams],
                "recovered": recovered,
                "streams": {id: stream(store, persister, id) for id in recovered},
                "totals": totals(persister),
                "listed": {state.id: digest_of(state.data) for state in persister.list_states(limit=1000).states},
                "kinds": dict(kinds(store, governor)),
                "governors": list(persister.list_governors()),
                "document": canonical(document(store, governor)),
                "locks": [lock.resource for lock in LockManager(store, governor=governor).list_locks()],
                "seals": [seal.streams for seal in SealManager(store, governor=governor).list_seals()],
            }


def stream(store: Store, persister: StateMachinePersister, id: str) -> dict[str, Any]:
    """One stream: its states at all versions that there are, its events, and the digest of its tip."""
    document = drive(store.get([persister_head(persister, id)])).documents[persister_head(persister, id)]
    tip = decode_head(document)[0].tip
    states: dict[str, Any] = {}
    for version in range(1, tip.version + 1):
        try:
            states[str(version)] = digest_of(persister.load(id, at_version=version).data)
        except (StateDeletedError, VersionNotFoundError) as error:
            states[str(version)] = type(error).__name__
    first = tip.base.version + 1 if tip.base else 1
    history = [
        (step.version, step.action, step.data, step.from_state, step.to_state, step.metadata, step.timestamp)
        for step in persister.history(id, from_version=first)
    ]
    return {
        "version": tip.version,
        "chain": tip.digest.decode(),
        "incarnation": tip.incarnation,
        "deleted": tip.deleted,
        "base": tip.base.version if tip.base else 0,
        "current": current(persister, id),
        "states": states,
        "history": [digest_of(step) for step in history],
    }


def totals(persister: StateMachinePersister) -> list[int]:
    stats = persister.get_stats()
    return [stats.total_states, stats.deleted_states, stats.total_events, stats.total_versions, stats.total_snapshots]


def current(persister: StateMachinePersister, id: str) -> Any:
    """The current state, in full where it is small."""
    try:
        plain = canonical(persister.load(id).data)
    except EventStateError as error:
        return type(error).__name__
    return plain if len(json.dumps(plain)) < 1000 else digest_of(plain)


def persister_head(persister: StateMachinePersister, id: str) -> Key:
    return Key(HEAD, persister.governor, id)


def kinds(store: Store, governor: str) -> Iterator[tuple[str, int]]:
    """How many documents there are of each kind."""
    for kind in sorted(KINDS):
        count = len(drive(store.scan(kind, governor)).documents)
        if count:
            yield kind, count


def document(store: Store, governor: str) -> Any:
    """A document of a user."""
    manager = TransactionManager(store, governor=governor)
    return [manager.execute_transaction(lambda t: t.get_document("notes", "1"))]


def canonical(value: Any) -> Any:
    """Plain data that is the same for equal values; sets in order."""
    if isinstance(value, Event):
        return [value.type, canonical(value.data)]
    if isinstance(value, BaseModel):
        return {name: canonical(getattr(value, name)) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: canonical(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in sorted(value.items())}
    if isinstance(value, set | frozenset):
        return sorted(canonical(item) for item in value)
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def digest_of(value: Any) -> str:
    text = json.dumps(canonical(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write(file: Path, found: dict[str, Any]) -> None:
    file.write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), sys.argv[2]), sort_keys=True))
