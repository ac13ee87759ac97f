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
    ("stores/sqlite/clock.py", "boot_id", "open"): "of the kernel",
    ("jobs/orchestrator/job_file.py", "job_schema", "read_text"): "a file of this package",
    ("jobs/orchestrator/job_file.py", "read_job_file", "open"): "a file that the caller names as a job",
    ("jobs/orchestrator/subprocess_tool.py", "_log", "open"): "a file that a job names as its log",
    ("jobs/queue/async_worker.py", "_serve", "open"): "no file: a slot of a worker",
    ("jobs/queue/slots.py", "replace", "open"): "no file: a slot of a worker",
    ("jobs/queue/worker.py", "_serve", "open"): "no file: a slot of a worker",
    ("jobs/tasks/following.py", "_begin", "open"): "no file: a subscription",
    ("log/sealing/files.py", "add", "open"): "a partial file of a seal, new and under a name of its own",
    ("log/sealing/files.py", "finish", "open"): "the same file",
    ("log/sealing/files.py", "read", "open"): "a file that the caller names as an exported seal",
    ("log/sealing/lists.py", "_read", "open"): "a file that the caller names as an exported seal",
    ("log/transfer/files.py", "__init__", "open"): "a partial file of an export, new and under a name of its own",
    ("log/transfer/files.py", "__init__", "touch"): "the same file",
    ("log/transfer/files.py", "_opened", "open"): "a file that the caller names as an export",
    ("machines/projecting.py", "_opened_building", "open"): "no file: a run of a projection",
    ("machines/projecting.py", "opened", "open"): "no file: a run of a projection",
    ("machines/subscribing.py", "next", "open"): "no file: a subscription",
    ("machines/subscribing.py", "run", "open"): "no file: a subscription",
    ("stores/folders.py", "fsync_folder", "open"): "a folder",
    ("stores/directory.py", "_write", "fdopen"): "a partial file of an archive, made exclusively",
    ("stores/directory.py", "get", "fdopen"): "a blob of an archive",
    ("stores/directory.py", "get", "open"): "a blob of an archive",
    ("stores/directory.py", "put", "read_bytes"): "a blob of an archive",
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
