"""The page of the public API has every public name, with the signature that it has."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import eventstate
from eventstate import errors

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
METADATA = ("changed_by", "reason", "context", "correlation_id", "causation_id", "occurred_at")
FACES = (
    eventstate.RetentionManager,
    eventstate.StateMachinePersister,
    eventstate.TransactionManager,
    eventstate.Transaction,
    eventstate.LockManager,
    eventstate.Keyring,
    eventstate.SealManager,
    eventstate.EffectDispatcher,
    eventstate.StreamTransfer,
    eventstate.Subscription,
    eventstate.TimeTravel,
    eventstate.ProjectionManager,
    eventstate.ProjectionView,
    eventstate.JobStateStore,
    eventstate.OrchestrationLog,
    eventstate.JobMigrator,
    eventstate.JobQueue,
    eventstate.JobTasks,
    eventstate.TaskReporter,
    eventstate.TaskSubscription,
    eventstate.Worker,
    eventstate.Orchestrator,
)
"""Those for sync callers; each has a twin for asyncio."""
VALUES = ("StateSnapshot", "Transition", "RecoveredState", "RecoveryReport", "StatePage", "StoreStats")
VALUES += ("ConsistencyReport", "Finding", "ChangeMetadata", "Event", "Fence", "LockInfo", "RetryPolicy")
VALUES += ("TransactionRecord", "Effect", "DeliveryReport", "TransferReport")
VALUES += ("ProjectionStatus",)
VALUES += ("StateDiff", "Difference", "Origin", "Fork", "ReplayReport", "Divergence")
VALUES += ("RetentionPolicy", "Pin", "ArchiveReport", "PruneReport", "PruneCount", "PruneProblem")
VALUES += ("Seal", "SealFile")
VALUES += ("CaughtUp", "Place", "Parked", "ParkedReport")
VALUES += ("Erased", "SubjectInfo")
VALUES += ("OrchestrationEvent", "OrchestrationSnapshot", "OrchestrationSummary", "UnitState", "UnhandledEvent")
VALUES += ("GraphData", "GraphNode", "GraphEdge")
VALUES += ("Migration", "JobDocument", "MigrationReport")
VALUES += ("JobSpec", "JobResult", "ToolContext")
VALUES += ("TaskStatus", "TaskUpdate", "TaskBarrier")
VALUES += ("JobRequest", "JobRules", "Job", "QueueDepth", "LimitUse", "AskedJob", "HealedQueue")
NOT_FOR_CALLERS = {"StateSnapshot": {"known"}, "Seal": {"listed", "token", "key"}, "SealFile": {"begin"}}


def rows(section: str) -> list[str]:
    """What stands as code at the beginning of the rows of a section's tables."""
    heading = re.search(rf"^#+ {re.escape(section)}$", PAGE, re.MULTILINE)
    assert heading is not None, f"the page has no section {section!r}"
    text = re.split(r"^#+ ", PAGE[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def signature(function: Any, name: str) -> str:
    """``name(parameters)`` as the page writes it: without types, the metadata keywords as ``…``."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    all_metadata = {p.name for p in parameters} >= set(METADATA)
    shown: list[str] = []
    positional_only = starred = False
    for p in parameters:
        if positional_only and p.kind is not p.POSITIONAL_ONLY:
            shown.append("/")
        positional_only = p.kind is p.POSITIONAL_ONLY
        if p.kind is p.KEYWORD_ONLY and not starred:
            shown.append("*")
        starred = starred or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        if all_metadata and p.name in METADATA:
            shown += ["…"] if p.name == METADATA[0] else []
        else:
            star = "*" if p.kind is p.VAR_POSITIONAL else "**" if p.kind is p.VAR_KEYWORD else ""
            default = "" if p.default is p.empty else f"={p.default!r}"
            shown.append(f"{star}{p.name}{default}")
    return f"{name}({', '.join(shown)})"


def public_members(cls: type) -> list[str]:
    """Its methods with their signatures, its properties by name, in the order of the source."""
    found = [signature(cls, cls.__name__)]
    for name, member in vars(cls).items():
        if not name.startswith("_"):
            found.append(signature(member, name) if callable(member) else name)
    return found


def test_every_public_name_is_on_the_page() -> None:
    names = set(eventstate.__all__) - set(errors.__all__) - {"errors", "__version__"}
    headings = set(re.findall(r"^#+ (\w+)$", PAGE, re.MULTILINE))
    first_cells = set(re.findall(r"^\| `(\w+)[`(]", PAGE, re.MULTILINE))
    twins = {f"Async{face.__name__}" for face in FACES}
    assert names - headings - first_cells == twins
    assert {twin for twin in twins if f"`{twin}`" not in PAGE} == set()


@pytest.mark.parametrize("face", FACES)
def test_the_page_has_the_methods_of_the_faces(face: type) -> None:
    assert sorted(rows(face.__name__)) == sorted(public_members(face))


@pytest.mark.parametrize("face", FACES)
def test_a_face_for_asyncio_has_the_same_methods(face: type) -> None:
    twin = getattr(eventstate, f"Async{face.__name__}")
    assert [text.replace("Async", "") for text in public_members(twin)] == public_members(face)


def test_opening() -> None:
    assert rows("Opening a store") == [signature(getattr(eventstate, n), n) for n in ("open_store", "open_async_store")]


def test_the_page_has_only_what_a_machine_has() -> None:
    assert set(rows("Machine")) <= set(public_members(eventstate.Machine))
    assert rows("Machine")[0] == signature(eventstate.Machine, "Machine")


@pytest.mark.parametrize("name", ["Tools", "SubprocessTool", "CallableTool"])
def test_the_page_has_the_methods_of_what_does_jobs(name: str) -> None:
    assert rows(name) == public_members(getattr(eventstate, name))


def test_policies_of_tasks() -> None:
    named = ("all_success", "any_success", "quorum", "none_failed", "weighted")
    assert rows("Policies of tasks")[:5] == [signature(getattr(eventstate, name), name) for name in named]


def test_the_view_in_memory() -> None:
    assert rows("OrchestrationStore") == public_members(eventstate.OrchestrationStore)


def test_vector_clock() -> None:
    assert rows("VectorClock") == public_members(eventstate.VectorClock)


@pytest.mark.parametrize("name", VALUES)
def test_the_page_has_the_fields_of_the_values(name: str) -> None:
    cls = getattr(eventstate, name)
    fields = [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else list(cls._fields)
    fields += [attribute for attribute, value in vars(cls).items() if isinstance(value, property)]
    hidden = NOT_FOR_CALLERS.get(name, set())
    assert [row for row in rows(name) if "(" not in row] == [f for f in fields if f not in hidden]
