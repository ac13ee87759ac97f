"""Which error leads to which exit code, and how it is shown."""

from __future__ import annotations

import json

import pytest

from eventstate import errors
from eventstate.cli.exits import ExitCode, show_failure
from eventstate.errors import EventStateError

SHOWN: list[tuple[EventStateError | Exception, ExitCode]] = [
    (errors.InvalidInputError("x"), ExitCode.USAGE),
    (errors.ConfigurationError("x"), ExitCode.USAGE),
    (errors.EncodingError(path="$", problem="x"), ExitCode.USAGE),
    (errors.StateNotFoundError(governor="g", state_id="x"), ExitCode.NOT_FOUND),
    (errors.VersionNotFoundError(state_id="x", asked="version 3", first=1, last=2), ExitCode.NOT_FOUND),
    (errors.StateDeletedError(state_id="x", version=1), ExitCode.NOT_FOUND),
    (errors.VersionConflictError(stream="x", expected=1, actual=2), ExitCode.CONFLICT),
    (errors.TransactionConflictError(keys=("a", "b")), ExitCode.CONFLICT),
    (errors.StoreUnavailableError(store="s", detail="x"), ExitCode.UNAVAILABLE),
    (errors.StorageFullError(store="s", detail="x"), ExitCode.UNAVAILABLE),
    (errors.StoreReadOnlyError(store="s", detail="x"), ExitCode.UNAVAILABLE),
    (errors.StorePermissionError(store="s", detail="x"), ExitCode.UNAVAILABLE),
    (errors.NotADatabaseError(store="s", detail="x"), ExitCode.UNAVAILABLE),
    (errors.CommitUnknownError(token="t"), ExitCode.UNAVAILABLE),
    (errors.CorruptionError(where="entry g/x:1", problem="x"), ExitCode.FINDING),
    (errors.SchemaNewerError(where="entry g/x:1", found=2, supported=1), ExitCode.FINDING),
    (KeyError("x"), ExitCode.FAULT),
    (ValueError("two\nlines"), ExitCode.FAULT),
]


@pytest.mark.parametrize(("error", "code"), SHOWN, ids=[type(error).__name__ for error, _ in SHOWN])
def test_exit_codes(error: Exception, code: ExitCode, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_failure(error, as_json=False) == code
    text = capsys.readouterr()
    assert text.out == ""
    assert text.err.startswith("error: ")
    assert text.err.count("\n") == 1
    assert show_failure(error, as_json=True) == code
    shown = json.loads(capsys.readouterr().err)["error"]
    assert shown["type"] == type(error).__name__
    assert shown["message"] in text.err
    fields = error.__dict__ if isinstance(error, EventStateError) else {}
    assert shown.keys() == {"type", "message", *fields}
