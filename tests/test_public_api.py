"""What ``import eventstate`` gives, and what it leaves alone."""

from __future__ import annotations

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
    assert [name for name in HEAVY if any(one == name or one.startswith(name + ".") for one in loaded)] == []
    assert imported["models"] == []


def test_the_check_for_heavy_imports_can_fail() -> None:
    loaded = fresh(FRESH.replace("import eventstate\n", "import eventstate, asyncio\n", 1))["loaded"]
    assert "asyncio" in loaded


def test_a_sync_store_loads_no_asyncio(tmp_path: Any) -> None:
    code = (
        "import json, sys, eventstate as e\n"
        f"with e.open_store('sqlite:///{tmp_path}/x.db') as store:\n"
        "    e.StateMachinePersister(store).save_state('doc', 1, expected=0)\n"
        "print(json.dumps([name for name in ('asyncio', 'pydantic', 'google', 'tenacity') if name in sys.modules]))"
    )
    assert fresh(code) == []


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


INHERITED = {"open", "step", "step_new", "dump", "accepts", "load", "label"}
"""Implementations of a protocol that says what they do."""


def test_the_package_says_that_it_is_typed() -> None:
    import importlib.resources

    assert importlib.resources.files("eventstate").joinpath("py.typed").is_file()
