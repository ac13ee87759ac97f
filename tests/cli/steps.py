"""Steps of migrations for the tests."""

from __future__ import annotations

from typing import Any

from eventstate import JobDocument, Migration


def in_seconds(document: JobDocument) -> dict[str, Any] | None:
    if document.is_record:
        return None
    return {**document.state, "payload": document.state["payload"] * 60}


SECONDS = Migration(version=100, name="seconds", change=in_seconds)
STEPS = [SECONDS]
