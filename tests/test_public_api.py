"""What ``import eventstate`` gives, and what it leaves alone."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

import eventstate

HEAVY = [
    "asyncio", "anyio", "trio", "tenacity", "google", "grpc", "fastapi", "starlette", "uvicorn", "obstore", "typer",
    "rich", "pydantic", "pydantic_core", "apsw", "sqlite3", "psutil", "cryptography", "opentelemetry", "httpx",
    "requests", "urllib.request", "multiprocessing",
]  # fmt: skip

START_UP = [
    "dataclasses", "inspect", "datetime", "json", "uuid", "hashlib", "threading", "random", "base64", "tempfile",
    "logging", "pathlib", "urllib.parse", "ctypes", "concurrent.futures", "orjson",
]  # fmt: skip
"""What a program that only imports the package does not pay for: the first name it uses brings in what that needs."""

UNUSED = [
    "asyncio", "concurrent.futures", "pydantic", "pydantic_core", "tenacity", "google", "sqlite3", "random", "base64",
    "tempfile", "logging", "ctypes", "hmac", "cryptography", "shutil", "subprocess", "pathlib", "urllib.parse",
    "eventstate.core.packs", "eventstate.core.pins", "eventstate.core.privacy", "eventstate.core.retrying",
    "eventstate.core.seals", "eventstate.jobs", "eventstate.log.archiving", "eventstate.log.following",
    "eventstate.log.history", "eventstate.log.keyring", "eventstate.log.pruning", "eventstate.log.sealing",
    "eventstate.log.transfer", "eventstate.log.verification", "eventstate.log.verify",
    "eventstate.machines.async_persister", "eventstate.machines.keyring", "eventstate.machines.past",
    "eventstate.machines.protecting", "eventstate.machines.reports", "eventstate.machines.subscribing",
    "eventstate.machines.transaction", "eventstate.machines.upkeep", "eventstate.runtime.aio",
    "eventstate.stores.archive", "eventstate.stores.firestore", "eventstate.stores.memory",
    "eventstate.stores.sqlite.backup", "eventstate.stores.sqlite.vacuum", "eventstate.machines.together",
    "eventstate.transactions.locks", "eventstate.transactions.outbox",
]  # fmt: skip
"""What a sync session on SQLite with one machine of plain data has no use for."""

FRESH = """
import json, sys
before = set(sys.modules)
import eventstate
names = {name: getattr(eventstate, name) is not None for name in eventstate.__all__}
loaded = sorted(set(sys.modules) - before)
models = []
if "pydantic" in sys.modules:
    from pydantic import BaseModel
    models = [cls.__module__ for cls in BaseModel.__subclasses__() if cls.__module__.startswith("eventstate")]
print(json.dumps({"loaded": loaded, "models": models}))
"""


BARE = """
import json, sys
before = set(sys.modules)
import eventstate
print(json.dumps(sorted(set(sys.modules) - before)))
"""

SESSION = """
import dataclasses, json, sys
from eventstate import Machine, StateMachinePersister, open_store

@dataclasses.dataclass(frozen=True)
class Placed:
    total: int

def evolve(order: dict, event: Placed) -> dict:
    return {"total": event.total}

orders = Machine("order", {"total": 0}, evolve)
with open_store("sqlite:///PATH/x.db") as store:
    shop = StateMachinePersister(store, machines=[orders])
    shop.append(orders, "42", Placed(7), expected=0)
    assert shop.load(orders, "42").data == {"total": 7}
print(json.dumps(sorted(sys.modules)))
"""


def among(loaded: list[str], names: list[str]) -> list[str]:
    """Those of the names that were loaded, themselves or something in them."""
    return [name for name in names if any(one == name or one.startswith(name + ".") for one in loaded)]


def fresh(code: str) -> Any:
    """What a new interpreter prints, as JSON."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    return fresh(FRESH)


def test_importing_loads_nothing_heavy(imported: dict[str, list[str]]) -> None:
    loaded = imported["loaded"]
    assert among(loaded, HEAVY) == []
    assert imported["models"] == []


def test_the_check_for_heavy_imports_can_fail() -> None:
    loaded = fresh(FRESH.replace("import eventstate\n", "import eventstate, asyncio\n", 1))["loaded"]
    assert "asyncio" in loaded


def test_a_bare_import_loads_what_errors_need() -> None:
    loaded = fresh(BARE)
    assert among(loaded, [*HEAVY, *START_UP]) == []
    assert [name for name in loaded if name.startswith("eventstate")] == ["eventstate", "eventstate.errors"]


def test_a_sync_session_loads_only_what_it_uses(tmp_path: Any) -> None:
    assert among(fresh(SESSION.replace("PATH", str(tmp_path))), UNUSED) == []


def test_the_check_for_unused_imports_can_fail(tmp_path: Any) -> None:
    code = SESSION.replace("PATH", str(tmp_path)).replace("import dataclasses,", "import asyncio, dataclasses,")
    assert "asyncio" in among(fresh(code), UNUSED)


@pytest.mark.parametrize("name", [name for name in UNUSED if name.startswith("eventstate")])
def test_what_must_not_be_loaded_is_there_to_be_loaded(name: str) -> None:
    assert importlib.util.find_spec(name) is not None


def test_a_name_that_does_not_exist_is_told_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="'eventstate' has no attribute 'Machin'"):
        eventstate.__getattr__("Machin")
    with pytest.raises(ImportError):
        exec("from eventstate import Machin")


def test_all_names_what_is_public() -> None:
    assert len(set(eventstate.__all__)) == len(eventstate.__all__)
    public = {
        name for name in dir(eventstate) if not name.startswith("_") and not inspect.ismodule(getattr(eventstate, name))
    }
    assert public == {name for name in eventstate.__all__ if not name.startswith("_")}
    assert eventstate.__version__.count(".") == 2


def test_star_import_gives_just_that() -> None:
    namespace: dict[str, Any] = {}
    exec("from eventstate import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(eventstate.__all__)


MEMBERS = [
    (name, getattr(eventstate, name))
    for name in eventstate.__all__
    if inspect.isclass(getattr(eventstate, name)) or inspect.isfunction(getattr(eventstate, name))
]


@pytest.mark.parametrize(("name", "member"), MEMBERS, ids=[name for name, _ in MEMBERS])
def test_everything_public_is_documented(name: str, member: Any) -> None:
    assert member.__doc__, name
    assert not member.__doc__.startswith(f"{name}("), "the text that dataclass makes up is no documentation"
    assert member.__module__.startswith("eventstate")
    for own_name, own in vars(member).items() if inspect.isclass(member) else ():
        if inspect.isfunction(own) and not own_name.startswith("_"):
            assert own.__doc__ or own_name in INHERITED, f"{name}.{own_name}"


INHERITED = {"open", "step", "step_new", "opens", "begin_erased", "dump", "accepts", "load", "label"}
"""Implementations of a protocol that says what they do."""


def test_the_package_says_that_it_is_typed() -> None:
    import importlib.resources

    assert importlib.resources.files("eventstate").joinpath("py.typed").is_file()
