"""Random batches, gets and scans on the store port against a plain dict."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from eventstate.core.documents import (
    CURSOR,
    ENTRY,
    HEAD,
    SNAPSHOT,
    Batch,
    Check,
    Committed,
    Delete,
    Key,
    Operation,
    Put,
    Refused,
    Require,
)
from eventstate.testing.conformance.scanning import expected_page, scan_all
from eventstate.testing.conformance.suite import body, unique
from eventstate.testing.model_machine import StoreMachine

DOCUMENT_KEYS: Final = tuple(
    Key(kind, owner, id, n)
    for kind, numbers in ((HEAD, (0,)), (CURSOR, (0,)), (SNAPSHOT, (1, 2)), (ENTRY, (1, 2)))
    for owner in ("g", "h")
    for id in ("a", "a-1")
    for n in numbers
)


class DocumentMachine(StoreMachine):
    """Batches of any operations under any preconditions, and what gets, scans and the feed then show."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[Key, tuple[bytes, str]] = {}
        self.gone: dict[Key, str] = {}
        self.fed: list[Key] = []
        self.store = self.open()

    @rule(
        operations=st.lists(
            st.tuples(
                st.sampled_from(DOCUMENT_KEYS),
                st.sampled_from(["put", "put", "delete", "check"]),
                st.sampled_from(["right", "right", "absent", "exists", "stale", "any"]),
            ),
            min_size=1,
            max_size=5,
            unique_by=lambda operation: operation[0],
        ),
        are_right=st.sampled_from([True, True, False]),
    )
    def commit(self, operations: list[tuple[Key, str, str]], are_right: bool) -> None:
        token = unique()
        if are_right:  # a batch is refused as a whole: most must have a chance
            operations = [(key, verb, "right") for key, verb, _ in operations]
        batch = [self._operation(token, *operation) for operation in operations]
        failing = {op.key for op in batch if not self._holds(op)}
        result = self.run(self.store.commit(Batch(token, batch)))
        if failing:
            assert isinstance(result, Refused), result
            assert result.keys is None or (result.keys and result.keys <= failing), result.keys
            return
        assert isinstance(result, Committed), result
        puts = [op for op in batch if isinstance(op, Put)]
        assert set(result.revisions) == {op.key for op in puts}
        for op in puts:
            assert result.revisions[op.key] not in (self.gone.get(op.key), self.documents.get(op.key, (b"", ""))[1])
            self.documents[op.key] = op.body, result.revisions[op.key]
            self.fed += [op.key] if op.key.kind == ENTRY else []
        for op in batch:
            if isinstance(op, Delete) and op.key in self.documents:
                self.gone[op.key] = self.documents.pop(op.key)[1]
                self.fed = [key for key in self.fed if key != op.key]

    def _operation(self, token: str, key: Key, verb: str, when: str) -> Operation:
        current = self.documents.get(key)
        conditions: dict[str, Any] = {
            "right": current[1] if current else Require.ABSENT,
            "absent": Require.ABSENT,
            "exists": Require.EXISTS,
            "stale": self.gone.get(key, "none"),
            "any": Require.ANY,
        }
        if verb == "put":
            if key.kind == ENTRY:  # which is written once
                return Put(key, body(token), Require.ABSENT) if current is None else Check(key, conditions[when])
            return Put(key, body(token, when), conditions[when])
        return (Delete if verb == "delete" else Check)(key, conditions[when])

    def _holds(self, operation: Operation) -> bool:
        current = self.documents.get(operation.key)
        if operation.when is Require.ANY:
            return True
        if operation.when is Require.ABSENT:
            return current is None
        if operation.when is Require.EXISTS:
            return current is not None
        return current is not None and current[1] == operation.when

    @invariant()
    def a_get_shows_what_was_written(self) -> None:
        found = self.run(self.store.get(DOCUMENT_KEYS)).documents
        assert {key: (document.body, document.revision) for key, document in found.items()} == self.documents

    @rule(
        kind=st.sampled_from([HEAD, CURSOR, SNAPSHOT, ENTRY]),
        id=st.sampled_from([None, "a", "a-1"]),
        prefix=st.sampled_from(["", "a", "a-", "b"]),
        after=st.none() | st.sampled_from(["A", "a", "a-1", "b"]),
        limit=st.integers(1, 4),
    )
    def scan(self, kind: str, id: str | None, prefix: str, after: str | None, limit: int) -> None:
        prefix = prefix if id is None else ""
        key = None if after is None else Key(kind, "g", after, 1 if kind in (SNAPSHOT, ENTRY) else 0)
        found = self.run(scan_all(self.store, kind, "g", id=id, prefix=prefix, after=key, limit=limit))
        there = [k for k in self.documents if k.kind == kind and k.owner == "g"]
        assert found == expected_page(there, id=id, prefix=prefix, after=key)

    @rule()
    def feed(self) -> None:
        page = self.run(self.store.feed(0))
        keys = [document.key for _, document in page.entries]
        if self.store.capabilities.feed_order == "store":
            assert keys == self.fed
        else:
            assert sorted(keys) == sorted(self.fed)

    @rule()
    def owners(self) -> None:
        assert list(self.run(self.store.owners())) == sorted({key.owner for key in self.documents})

    @rule()
    def reopen_store(self) -> None:
        if self.store.capabilities.shared:
            self.run(self.store.aclose())
            self.store = self.open()
