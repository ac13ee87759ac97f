"""Laws of exports and copies, over random histories."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstate import ANY, StateMachinePersister, Store, StreamTransfer, open_store
from eventstate.log.transfer import target

pytestmark = pytest.mark.backend("memory")

IDS = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), min_size=1, max_size=5)
STATES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
STEPS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["save", "save", "save", "delete"]), STATES), max_size=40)


def write(persister: StateMachinePersister, ids: list[str], steps: list[tuple[int, str, Any]]) -> None:
    for number, what, state in steps:
        id = ids[number % len(ids)]
        if what == "save":
            persister.save_state(id, state, expected=ANY, reopen=True)
        elif persister.exists(id):
            persister.delete_state(id, expected=ANY)


def export(store: Store, folder: str, name: str) -> bytes:
    path = Path(folder) / name
    StreamTransfer(store).export_file(path)
    return path.read_bytes()


@settings(max_examples=40)
@given(st.lists(IDS, min_size=1, max_size=4, unique=True), STEPS, STEPS, st.integers(200, 3000))
def test_what_arrives_is_what_left(
    ids: list[str], steps: list[tuple[int, str, Any]], later: list[tuple[int, str, Any]], batch: int
) -> None:
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store("memory://")) for _ in range(3)]
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(patch.object(target, "BATCH_BYTES", batch))
        first, copy, imported = stores
        persister = StateMachinePersister(first, snapshot_every=3, keep_snapshots=2)
        for number, part in enumerate((steps, later)):
            write(persister, ids, part)
            content = export(first, folder, f"{number}.jsonl")
            StreamTransfer(first).copy_to(copy)
            StreamTransfer(imported).import_file(Path(folder) / f"{number}.jsonl")
            for position, store in enumerate((copy, imported)):
                assert export(store, folder, f"{number} {position}") == content
                theirs = StateMachinePersister(store)
                assert theirs.validate_consistency().is_consistent
                assert list(theirs.recover()) == list(persister.recover())


@settings(max_examples=40)
@given(st.lists(IDS, min_size=1, max_size=3, unique=True), STEPS, st.randoms(use_true_random=False))
def test_no_change_of_a_file_goes_through(ids: list[str], steps: list[tuple[int, str, Any]], random: Random) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(open_store("memory://")) for _ in range(2))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        write(StateMachinePersister(first), ids, steps)
        content = bytearray(export(first, folder, "x.jsonl"))
        place = random.randrange(len(content))
        match random.randrange(3):
            case 0:
                content[place] ^= 1 << random.randrange(8)
            case 1:
                del content[place]
            case _:
                content.insert(place, random.randrange(256))
        path = Path(folder) / "y.jsonl"
        path.write_bytes(content)
        with pytest.raises(Exception) as caught:
            StreamTransfer(second).import_file(path)
        assert type(caught.value).__name__ in {"ExportFileError", "FormatError"}
        assert StateMachinePersister(second).list_governors() == []
