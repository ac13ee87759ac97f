"""Copies of streams that other parts have worked on: encrypted, sealed, pruned, forked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    ANY,
    HistoryConflictError,
    InvalidInputError,
    Keyring,
    Machine,
    RetentionManager,
    RetentionPolicy,
    SealFile,
    SealManager,
    StateMachinePersister,
    Store,
    StreamTransfer,
    TimeTravel,
    TransactionManager,
    open_store,
)

pytestmark = pytest.mark.backend("memory")


@dataclass(frozen=True)
class Loan:
    name: str = ""
    books: int = 0


@dataclass(frozen=True)
class Joined:
    member: str
    name: str


@dataclass(frozen=True)
class Lent:
    books: int


def evolve(loan: Loan, event: Joined | Lent) -> Loan:
    match event:
        case Joined(name=name):
            return replace(loan, name=name)
        case Lent(books):
            return replace(loan, books=loan.books + books)


LOANS: Machine[Loan, Any] = Machine("loan", Loan(), evolve, subjects={Joined: "member"})


@pytest.fixture
def stores() -> Iterator[list[Store]]:
    opened = [open_store("memory://") for _ in range(3)]
    yield opened
    for store in opened:
        store.close()


def test_encrypted_values_stay_so(stores: list[Store], tmp_path: Path) -> None:
    first, second, keys = stores
    for store in (first, second):
        keyring = Keyring(keys, fresh_seconds=0)
        persister = StateMachinePersister(store, machines=[LOANS], keyring=keyring, snapshot_every=2)
        if store is first:
            persister.append(LOANS, "1", Joined("m-1", "canary"), expected=0)
            persister.append(LOANS, "1", Lent(2), expected=1)
            StreamTransfer(first).copy_to(second)
            StreamTransfer(first).export_file(tmp_path / "x.jsonl")
        assert persister.load(LOANS, "1").data == Loan("canary", 2)
        assert persister.validate_consistency().is_consistent
    assert b"canary" not in (tmp_path / "x.jsonl").read_bytes()
    Keyring(keys, fresh_seconds=0).erase("m-1", reason="asked")
    for store in (first, second):
        erased = StateMachinePersister(store, machines=[LOANS], keyring=Keyring(keys, fresh_seconds=0))
        assert erased.load(LOANS, "1").data == Loan("", 2)
    with pytest.raises(InvalidInputError, match="encrypted"):
        StreamTransfer(second).copy_to(first, governor="annex", rechain=True)


def filled(store: Store) -> StateMachinePersister:
    persister = StateMachinePersister(store, snapshot_every=10)
    for number in range(60):
        persister.save_state(f"doc-{number % 3}", {"n": number}, expected=ANY)
    return persister


def test_a_seal_of_the_source_proves_the_copy(stores: list[Store], tmp_path: Path) -> None:
    first, second, _ = stores
    filled(first)
    manager = SealManager(first)
    manager.seal()
    manager.export(tmp_path / "seal", full=True)
    StreamTransfer(first).copy_to(second)
    report = StateMachinePersister(second).validate_consistency(seal=SealFile.read(tmp_path / "seal"))
    assert report.is_consistent
    assert report.sealed_streams == 3


def test_what_retention_has_pruned(stores: list[Store], tmp_path: Path) -> None:
    first, second, third = stores
    persister = filled(first)
    RetentionManager(first).prune(RetentionPolicy(keep_last=5))
    assert persister.get_stats().total_events < 60
    StreamTransfer(first).export_file(tmp_path / "a.jsonl")
    StreamTransfer(first).copy_to(second)
    StreamTransfer(third).import_file(tmp_path / "a.jsonl")
    for number, store in enumerate((second, third)):
        StreamTransfer(store).export_file(tmp_path / f"{number}.jsonl")
        assert (tmp_path / f"{number}.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
        copied = StateMachinePersister(store)
        assert copied.validate_consistency().is_consistent
        assert copied.load("doc-0").data == persister.load("doc-0").data
        copied.save_state("doc-0", {"n": "on"}, expected=20)
        assert copied.rebuild("doc-0", full=True).data == {"n": "on"}


def test_forks(stores: list[Store]) -> None:
    first, second, _ = stores
    filled(first)
    TimeTravel(first).fork("doc-0", to="doc-0b", at_version=7)
    StreamTransfer(first).copy_to(second)
    assert StateMachinePersister(second).validate_consistency().is_consistent
    assert TimeTravel(second).lineage("doc-0b") == TimeTravel(first).lineage("doc-0b")


def rechained(first: Store, second: Store) -> Any:
    return StreamTransfer(first).copy_to(second, governor="annex", rechain=True)


@pytest.mark.parametrize("pruned_there", [None, 3, 12], ids="there {}".format)
@pytest.mark.parametrize("more", [0, 6])
def test_new_chains_go_on_after_a_prune_of_the_source(stores: list[Store], more: int, pruned_there: int | None) -> None:
    first, second, _ = stores
    persister = filled(first)
    rechained(first, second)
    for number in range(more):
        persister.save_state("doc-0", {"more": number}, expected=ANY)
    RetentionManager(first).prune(RetentionPolicy(keep_last=more + 5))
    if pruned_there:
        RetentionManager(second, governor="annex").prune(RetentionPolicy(keep_last=pruned_there))
    report = rechained(first, second)
    assert (report.events, report.streams_behind) == (more, 0)
    copied = StateMachinePersister(second, governor="annex")
    assert copied.validate_consistency().is_consistent
    assert copied.load("doc-0").data == persister.load("doc-0").data
    assert copied.load("doc-1").version == 20
    RetentionManager(first).prune(RetentionPolicy(keep_last=1))
    assert rechained(first, second).events == 0
    persister.save_state("doc-0", {"last": 1}, expected=ANY)
    assert rechained(first, second).events == 1
    assert copied.validate_consistency().is_consistent


@pytest.mark.parametrize("beyond", [0, 1], ids=["as long as what is pruned", "longer"])
def test_new_chains_are_not_put_upon_another_history(stores: list[Store], beyond: int) -> None:
    first, second, _ = stores
    filled(first)
    other = StateMachinePersister(second, governor="annex")
    for number in range(15 + beyond):
        other.save_state("doc-0", {"other": number}, expected=ANY)
    RetentionManager(first).prune(RetentionPolicy(keep_last=5))
    with pytest.raises(HistoryConflictError):
        rechained(first, second)
    assert other.load("doc-0").version == 15 + beyond
    assert other.validate_consistency().is_consistent


def test_a_copy_goes_on_where_a_source_was_pruned_to_just_what_is_there(stores: list[Store]) -> None:
    first, second, _ = stores
    persister = StateMachinePersister(first)
    for number in range(5):
        persister.save_state("doc", number, expected=number)
    StreamTransfer(first).copy_to(second)
    persister.save_state("doc", 5, expected=5)
    RetentionManager(first).prune(RetentionPolicy(keep_last=1))
    assert StreamTransfer(first).copy_to(second).events == 1
    assert StateMachinePersister(second).load("doc").data == 5
    assert StateMachinePersister(second).validate_consistency().is_consistent


def test_a_document_that_has_changed_says_what_to_do(stores: list[Store]) -> None:
    first, second, _ = stores
    manager = TransactionManager(first)
    manager.execute_transaction(lambda t: t.put_document("notes", "1", "first"))
    StreamTransfer(first).copy_to(second, documents=True)
    manager.execute_transaction(lambda t: t.put_document("notes", "1", "second"))
    with pytest.raises(HistoryConflictError, match="delete it in the target"):
        StreamTransfer(first).copy_to(second, documents=True)
    TransactionManager(second).execute_transaction(lambda t: t.delete_document("notes", "1"))
    assert StreamTransfer(first).copy_to(second, documents=True).documents == 1
