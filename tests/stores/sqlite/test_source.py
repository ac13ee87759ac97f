"""A check of the source: nothing opens a store's file but SQLite, for closing it would drop this process's locks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventstate

ROOT = Path(eventstate.__file__).parent

OPENERS = {
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "copy", "copyfile", "copy2", "copytree", "mmap",
    "sendfile", "fdopen", "openat", "touch", "truncate",
}  # fmt: skip
DRIVERS = {"sqlite3", "apsw", "pysqlite3", "aiosqlite", "sqlalchemy"}

ALLOWED = {
    ("stores/sqlite/connection.py", "create_file", "open"): "makes a file that is not there, exclusively",
    ("stores/sqlite/connection.py", "fsync_folder", "open"): "a folder",
    ("stores/sqlite/backup.py", "_copy", "open"): "a partial file of a backup, with no connection open on it",
    ("stores/sqlite/clock.py", "boot_id", "read_text"): "of the kernel",
}
"""Where something is opened after all, and why that is no store's file with connections open on it."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        # testing breaks files on purpose; the command line reads files to import from
        if not name.startswith(("testing/", "cli/")):
            yield name, ast.parse(path.read_text())


def calls(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Calls that open a file: the function they are in, and their name."""
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]:
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                if name in OPENERS:
                    yield function.name, name


def test_no_code_opens_files_but_where_that_is_known_to_be_safe() -> None:
    found = {(module, function, name) for module, tree in modules() for function, name in calls(tree)}
    assert found - ALLOWED.keys() == set()
    assert ALLOWED.keys() - found == set(), "no longer there: take them off the list"


def test_no_module_but_those_of_the_backend_knows_a_sqlite_driver() -> None:
    for module, tree in modules():
        imported: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
        drivers = imported & DRIVERS
        assert drivers <= ({"apsw"} if module.startswith("stores/sqlite/") else set()), module


@pytest.mark.parametrize(
    "source",
    [
        "def f(p):\n    return open(p)",
        "def f(p):\n    return p.read_bytes()",
        "async def f(p):\n    import shutil\n    shutil.copyfile(p, 'x')",
        "class A:\n    def f(self, p):\n        return os.open(p, 0)",
    ],
)
def test_the_check_can_fail(source: str) -> None:
    assert list(calls(ast.parse(source)))
