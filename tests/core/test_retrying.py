"""Every error has a fate, and the errors themselves agree with it; a policy has bounds."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from eventstate import errors
from eventstate.core.retrying import FATES, RETRIED, Fate, RetryPolicy, fate_of
from eventstate.errors import ConfigurationError, EventStateError
from tests.errors.test_tree import made

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, EventStateError)]
LEAVES = [cls for cls in CLASSES if not any(other is not cls and issubclass(other, cls) for other in CLASSES)]


def entry_of(cls: type[BaseException]) -> type[BaseException] | None:
    return next((base for base in cls.__mro__ if base in FATES), None)


@pytest.mark.parametrize("cls", LEAVES)
def test_every_error_has_a_fate_by_decision(cls: type[EventStateError]) -> None:
    entry = entry_of(cls)
    assert entry is not None, "it would be permanent by default: decide"
    assert entry is not EventStateError


@pytest.mark.parametrize("cls", LEAVES)
def test_the_error_itself_agrees(cls: type[EventStateError]) -> None:
    error = made(cls)
    assert error.is_transient == (fate_of(error) is not Fate.PERMANENT)
    assert (error.suggested_backoff > 0) == error.is_transient


def test_leaves_are_what_is_raised() -> None:
    assert {cls.__name__ for cls in LEAVES} <= set(errors.__all__)
    assert len(LEAVES) >= 30
    assert {cls for cls in CLASSES if cls not in LEAVES} == {
        errors.EventStateError,
        errors.InvalidInputError,
        errors.NotFoundError,
        errors.ConflictError,
        errors.LockError,
        errors.OutcomeError,
        errors.StoreError,
        errors.CorruptionError,
        errors.KeyringError,
        errors.ProgramError,
        errors.SchemaError,
    }


def test_what_is_tried_again() -> None:
    again = {cls.__name__ for cls in LEAVES if fate_of(made(cls)) in RETRIED}
    assert again == {
        "VersionConflictError",
        "TransactionConflictError",
        "DeadlockDetectedError",
        "LockTimeoutError",
        "StoreUnavailableError",
    }
    assert {cls.__name__ for cls in LEAVES if fate_of(made(cls)) is Fate.UNKNOWN} == {"CommitUnknownError"}


def test_the_nearest_class_decides() -> None:
    class Mine(errors.TransactionConflictError):
        pass

    class Special(errors.StorageFullError):
        pass

    assert fate_of(Mine(keys=("a",))) is Fate.CONFLICT
    assert fate_of(Special(store="s", detail="d")) is Fate.PERMANENT
    assert fate_of(made(errors.IdempotencyMismatchError)) is Fate.PERMANENT, "a conflict that stays one"


@pytest.mark.parametrize(
    "error", [ValueError("v"), KeyError("k"), OSError(5, "io"), TimeoutError(), asyncio.CancelledError(), SystemExit()]
)
def test_errors_of_others_are_the_callers_own(error: BaseException) -> None:
    assert fate_of(error) is Fate.PERMANENT


def test_the_policy_of_nobody() -> None:
    policy = RetryPolicy()
    assert (policy.attempts, policy.initial, policy.cap, policy.timeout) == (5, 0.01, 1.0, 30.0)
    with pytest.raises(FrozenInstanceError):
        policy.attempts = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 1},
        {"attempts": 10**6},
        {"initial": 0, "cap": 0},
        {"initial": 0.5, "cap": 0.5},
        {"cap": 3600},
        {"timeout": 0.001},
        {"timeout": 86_400},
    ],
)
def test_policies_within_bounds(options: dict[str, Any]) -> None:
    policy = RetryPolicy(**options)
    assert all(getattr(policy, name) == value for name, value in options.items())


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"initial": -0.1},
        {"initial": 2},
        {"cap": 0.001},
        {"cap": 3601},
        {"cap": float("inf")},
        {"initial": float("nan")},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": 86_401},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
    ],
)
def test_policies_without_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RetryPolicy(**options)
