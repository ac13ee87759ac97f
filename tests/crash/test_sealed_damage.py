"""Thousands of faults in the rows of a sealed store, done by another process: every one is found."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventstate import ConsistencyReport, SealFile, SealManager, StateMachinePersister, open_store
from tests.crash.sealed_store import GOVERNOR, STREAMS, make

SEED = 5


class Editor:
    """The process that damages the file."""

    def __init__(self, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.damager", str(file), str(SEED)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.kinds: list[str] = self._answer()

    def damage(self, kind: str) -> Any:
        return self._ask(f"damage {kind}")

    def mend(self) -> None:
        self._ask("mend")

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@pytest.fixture
def store_file(fast_folder: Path) -> Path:
    file = fast_folder / "sealed.db"
    make(file)
    return file


@pytest.fixture
def editor(store_file: Path) -> Iterator[Editor]:
    editor = Editor(store_file)
    yield editor
    editor.close()


def verified(file: Path, seal: SealFile | None = None) -> ConsistencyReport:
    with open_store(f"sqlite:///{file}?mode=ro") as store:
        return StateMachinePersister(store, governor=GOVERNOR).validate_consistency(seal=seal)


def check_all_are_found(file: Path, editor: Editor, kinds: dict[str, int], seal: SealFile | None = None) -> None:
    assert set(kinds) == set(editor.kinds)
    order = [kind for kind, count in kinds.items() for _ in range(count)]
    random.Random(SEED).shuffle(order)
    missed: list[Any] = []
    found: Counter[str] = Counter()
    for kind in order:
        what = editor.damage(kind)
        report = verified(file, seal)
        if report.findings:
            found[kind] += 1
        else:
            missed.append((kind, what))
        editor.mend()
    report = verified(file, seal)
    assert (report.findings, report.sealed_streams) == ([], STREAMS), "what was mended is not as it was"
    assert missed == []
    assert sum(found.values()) == len(order)


OTHERS = (
    "flip of a key",
    "row deleted",
    "stream row deleted",
    "bodies swapped",
    "entries swapped",
    "streams swapped",
    "tail cut, head left",
    "tail cut, head rewritten",
    "stream taken away",
    "history rewritten",
    "pruned beyond the seal",
)


@pytest.mark.backend("sqlite")
def test_every_fault_is_found(store_file: Path, editor: Editor) -> None:
    check_all_are_found(store_file, editor, {"flip": 40} | dict.fromkeys(OTHERS, 4))


@pytest.mark.torture
@pytest.mark.backend("sqlite")
def test_two_thousand_flips_and_as_many_other_faults_are_found(store_file: Path, editor: Editor) -> None:
    check_all_are_found(store_file, editor, {"flip": 2000} | dict.fromkeys(OTHERS, 200))


@pytest.mark.backend("sqlite")
def test_faults_are_found_against_a_seal_that_was_kept_elsewhere(
    store_file: Path, editor: Editor, tmp_path: Path
) -> None:
    with open_store(f"sqlite:///{store_file}?mode=ro") as store:
        SealManager(store, governor=GOVERNOR).export(tmp_path / "seal.json", full=True)
    seal = SealFile.read(tmp_path / "seal.json")
    check_all_are_found(store_file, editor, {"flip": 10} | dict.fromkeys(OTHERS, 2), seal)


@pytest.mark.backend("sqlite")
def test_what_only_a_seal_can_tell(store_file: Path, editor: Editor) -> None:
    """Without seals the forgeries pass: it is the seal that finds them, and the forgeries are good ones."""
    for kind in ("tail cut, head rewritten", "stream taken away", "history rewritten"):
        for _ in range(5):
            editor.damage(kind)
            with open_store(f"sqlite:///{store_file}") as store:
                report = StateMachinePersister(store, governor=GOVERNOR).validate_consistency()
                chains = [finding for finding in report.findings if "seal 2" not in finding.problem]
                assert len(report.findings) == 1
                assert chains == [], kind
            editor.mend()
