"""Checkpoints as LangGraph writes them: the whole state in one channel, a new id each time."""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base import Checkpoint, empty_checkpoint

from benchmarks.payloads import CHANGED_BY, REASON, State


def config(machine: str, checkpoint: str | None = None) -> dict[str, Any]:
    configurable = {"thread_id": machine, "checkpoint_ns": ""}
    return {"configurable": configurable | ({"checkpoint_id": checkpoint} if checkpoint else {})}


def checkpoint(before: int, value: State) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
    """The checkpoint, its metadata and the new channel versions."""
    version = before + 1
    result = empty_checkpoint()
    result["channel_values"] = {"state": value}
    result["channel_versions"] = {"state": version}
    metadata = {"source": "loop", "step": before, "changed_by": CHANGED_BY, "reason": REASON}
    return result, metadata, {"state": version}


def n_of(saved: Any) -> int:
    return saved.checkpoint["channel_values"]["state"]["n"]
