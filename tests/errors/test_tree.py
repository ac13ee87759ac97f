"""Every error: its place in the tree, its fields over a pickle, and what it tells about trying again."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

import eventstate
from eventstate import errors
from eventstate.errors import EventStateError

SAMPLES: dict[str, Any] = {
    "output": "denied",
    "code": 1,
    "command": "gcloud x",
    "advice": "install it",
    "program": "gcloud",
    "reason": "unknown unit",
    "unit": "api",
    "what": "state id",
    "value": "a\nb",
    "rule": "no",
    "path": "$.a[2]",
    "problem": "odd",
    "size": 5_000_000,
    "limit": 921_600,
    "machine": "order",
    "event_type": "Paid",
    "known": ("Placed",),
    "where": "entry g/s:1",
    "state": "new",
    "action": "Paid",
    "legal": ("Placed",),
    "target": "paid",
    "governor": "shop",
    "name": "counts",
    "running": 2,
    "current": 1,
    "state_id": "order-1",
    "detail": "because",
    "asked": "version 9",
    "first": 1,
    "last": 5,
    "version": 5,
    "stream": "order-1",
    "expected": 3,
    "actual": 5,
    "keys": ("head g/s",),
    "key": "k1",
    "token": "es1:x",
    "store": "sqlite:///x.db",
    "file": "shop.jsonl",
    "line": 7,
    "found": 2,
    "supported": 1,
    "capability": "feeds",
    "outer": "0198-a",
    "transaction": "0198-a",
    "resource": "report",
    "client_id": "worker-1",
    "cycle": ("worker-1", "worker-2"),
    "waited": 2.5,
    "holder": "worker-2",
    "field": "metadata.timeout_seconds",
    "run_id": "run-1",
    "workstream_id": "ws-1",
    "job_id": "job-1",
    "id": "run-1",
    "status": "completed",
    "job": "nightly",
    "task": 9,
    "tasks": 8,
    "own": 3,
    "tag": "build",
    "is_deleted": True,
    "key_id": "AaIZEalyC_Ww390kXVx2gA",
    "erased_at": "2026-05-03T10:00:00+00:00",
    "difference": "document g/a/b was not the same",
}

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, EventStateError)]


def fields(cls: type[EventStateError]) -> list[str]:
    """The keywords it takes; none for those that take a text."""
    if not inspect.isfunction(cls.__init__):
        return []
    return [p.name for p in inspect.signature(cls).parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]


def made(cls: type[EventStateError]) -> EventStateError:
    """One with every field given."""
    named = fields(cls)
    return cls(**{name: SAMPLES[name] for name in named}) if named else cls("something went wrong: do this")


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_a_pickle_with_their_fields(cls: type[EventStateError]) -> None:
    error = made(cls)
    error.add_note("seen at night")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is cls
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert again.__notes__ == ["seen at night"]
        assert (again.is_transient, again.suggested_backoff) == (error.is_transient, error.suggested_backoff)


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_take_keywords_keep_them_and_show_them(cls: type[EventStateError]) -> None:
    error = made(cls)
    assert all(getattr(error, name) == SAMPLES[name] for name in fields(cls) if hasattr(error, name))
    assert len(str(error)) > 10
    if fields(cls):
        with pytest.raises(TypeError):
            cls("positional")


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_are_public_documented_and_say_whether_to_try_again(cls: type[EventStateError]) -> None:
    assert cls.__name__ in errors.__all__
    assert getattr(eventstate, cls.__name__) is cls
    assert cls.__name__ in eventstate.__all__
    assert cls.__doc__
    assert cls.__name__ in str(errors.__doc__)
    assert isinstance(cls.is_transient, bool)
    assert cls.suggested_backoff >= 0
    assert not cls.suggested_backoff or cls.is_transient


def test_what_is_transient() -> None:
    transient = {cls.__name__ for cls in CLASSES if cls.is_transient}
    expected = {"ConflictError", "VersionConflictError", "TransactionConflictError"}
    expected |= {"DeadlockDetectedError", "LockTimeoutError"}
    assert transient == expected | {"CommitUnknownError", "StoreUnavailableError"}


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(errors.InvalidInputError, ValueError)
    assert issubclass(errors.NotFoundError, LookupError)


def test_the_message_of_an_odd_id_is_short() -> None:
    error = errors.InvalidIdError(what="state id", value="x" * 5000, rule="too long")
    assert len(str(error)) < 200
    assert error.value == "x" * 5000
