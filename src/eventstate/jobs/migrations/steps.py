"""Steps from one schema of a job's documents to the next. A step computes, and does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, cast

import orjson

from eventstate.core.codec import encode
from eventstate.core.instants import EPOCH
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    DocumentTooLargeError,
    InvalidInputError,
    SchemaNewerError,
)
from eventstate.jobs.tasks.record import check_tasks
from eventstate.jobs.tasks.status import MAX_STATUS_BYTES, check_status, status_of

OWN_VERSIONS: Final = 100
"""Versions below are the library's own; those of callers begin here, so that they never meet."""

MIGRATED: Final = "migrated"
"""Member of a job's record: the last version of a caller's step. The library's own are counted by ``schema``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDocument:
    """One stored document of a job, as a step is given it.

    Attributes:
        job: id of the job.
        state: what is stored, the step's own copy.
        tag, task: of a task's status; None for the record of the job itself.
    """

    job: str
    state: dict[str, Any]
    tag: str | None = None
    task: int | None = None

    @property
    def is_record(self) -> bool:
        """Whether it is the record of the job: its number of tasks, and whether it is closed."""
        return self.tag is None


Change = Callable[[JobDocument], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A step that brings the documents of a job to a version.

    Attributes:
        version: the schema that it leads to: 100 or more; lower ones are the library's own.
        name: for people, in histories and reports.
        change: given a `JobDocument`, what is to be stored in its place, or None to leave it as it is. It may run
            several times on the same document, but what it returned is stored once. That a job is closed, and which
            attempt a status is of, stays so where it leaves that out.

    Raises:
        ConfigurationError: the version is no whole number from 1, the name no text, or there is no function.
    """

    version: int
    name: str
    change: Change

    def __post_init__(self) -> None:
        if isinstance(self.version, bool) or not isinstance(self.version, int) or self.version < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"migration {self.name!r} has version {self.version!r}: versions begin at 1")
        if not isinstance(self.name, str) or not callable(self.change):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"migration {self.version} needs a name, and a function as change=")


def _check(document: JobDocument) -> None:
    """Jobs from before there were versions are of this form already."""
    if document.is_record:
        check_tasks(document.state.get("tasks"))
    else:
        check_status(document.state.get("status"))


OWN: Final = (Migration(version=1, name="number of tasks and statuses", change=_check),)
"""The steps that the library has itself."""


class Reached(NamedTuple):
    """The versions that a job's documents are of. The two lines of steps grow apart, so each has its own."""

    library: int
    callers: int

    def has(self, step: Migration) -> bool:
        """Whether a step was carried out."""
        return step.version <= (self.library if step.version < OWN_VERSIONS else self.callers)

    def after(self, step: Migration) -> Mapping[str, int]:
        """The members of a record that say that a step was carried out."""
        return {("schema" if step.version < OWN_VERSIONS else MIGRATED): step.version}


def reached(job: str, record: object) -> Reached:
    """The versions that the record of a job says; 0 for none.

    Raises:
        CorruptionError: it is no record of a job.
    """
    members: Mapping[str, Any] = cast("Any", record) if isinstance(record, Mapping) else {"schema": None}
    versions: list[Any] = [members.get(member, 0) for member in ("schema", MIGRATED)]
    if any(isinstance(version, bool) or not isinstance(version, int) for version in versions):
        raise CorruptionError(where=f"job {job!r}", problem="what is recorded is no record of a job")
    return Reached(*versions)


class Steps:
    """All steps that are known, in their order.

    Raises:
        ConfigurationError: one is none, two have one version, or one of the caller's has a version of the library's
            own.
    """

    def __init__(self, steps: Iterable[Migration]) -> None:
        if isinstance(steps, Migration):
            raise ConfigurationError("steps= takes a list of Migrations, not a single one")
        given = tuple(steps)
        for step in given:
            if not isinstance(step, Migration):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigurationError(f"{step!r} is no Migration")
            if step.version < OWN_VERSIONS:
                problem = f"the library's own are those below {OWN_VERSIONS}"
                raise ConfigurationError(f"migration {step.name!r} has version {step.version}: {problem}")
        self._steps = sorted((*OWN, *given), key=lambda step: step.version)
        versions = [step.version for step in self._steps]
        for version in versions:
            if versions.count(version) > 1:
                raise ConfigurationError(f"two migrations lead to version {version}: give each its own")

    @property
    def newest(self) -> int:
        return self._steps[-1].version

    def target(self, asked: int | None) -> int:
        """The version to migrate to.

        Raises:
            InvalidInputError: no step leads there.
        """
        known = [step.version for step in self._steps]
        if asked is None:
            return self.newest
        if isinstance(asked, bool) or asked not in known:
            raise InvalidInputError(
                f"target={asked!r}: no migration leads there; there are those to {', '.join(map(str, known))}"
            )
        return asked

    def check_known(self, job: str, versions: Reached) -> None:
        """Refuse a job that is of a version that no step is known of.

        Raises:
            SchemaNewerError: it is.
        """
        library = max(step.version for step in self._steps if step.version < OWN_VERSIONS)
        for found, supported in ((versions.library, library), (versions.callers, self.newest)):
            if found > supported:
                raise SchemaNewerError(where=f"job {job!r}", found=found, supported=supported)

    def left(self, job: Reached, target: int) -> Sequence[Migration]:
        """The steps that are left to do for a job up to a version."""
        return [step for step in self._steps if step.version <= target and not job.has(step)]


def changed(step: Migration, document: JobDocument) -> dict[str, Any] | None:
    """What a step makes of a document; None where nothing changes.

    Raises:
        InvalidInputError: it gave something that can't be stored in the place.
        DocumentTooLargeError: it gave too much.
        CorruptionError: something else recorded a state in the place.
    """
    if not isinstance(document.state, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CorruptionError(where=_place(document), problem="what is recorded is no status of a task")
    before = encode(document.state)
    try:
        made = step.change(replace(document, state=orjson.loads(before)))
    except Exception as error:
        error.add_note(f"migration {step.version} ({step.name}) raised this at {_place(document)}")
        raise
    if made is None:
        return None
    if not isinstance(made, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(
            f"migration {step.version} gave {type(made).__name__} for {_place(document)}: no object"
        )
    state = dict(made)
    if document.is_record:
        _check_record(document, state)
    else:
        _check_made_status(document, state)
    text = encode(state)
    if len(text) > MAX_STATUS_BYTES:
        raise DocumentTooLargeError(what=f"what migration {step.version} made", size=len(text), limit=MAX_STATUS_BYTES)
    return None if text == before else state


def _check_record(document: JobDocument, state: dict[str, Any]) -> None:
    """What a step made of a record; what is the library's to say stays as it was."""
    check_tasks(state.get("tasks"))
    for member in ("schema", MIGRATED, "closed"):
        state.pop(member, None)
        if member in document.state:
            state[member] = document.state[member]


def _check_made_status(document: JobDocument, state: dict[str, Any]) -> None:
    """What a step made of a status: one that can be read, and of the same attempt."""
    check_status(state.get("status"))
    for member in ("incarnation", "attempt"):
        if member in document.state:
            state.setdefault(member, document.state[member])
    if state.get("incarnation", 1) != document.state.get("incarnation", 1):
        raise InvalidInputError(f"incarnation={state['incarnation']!r} of {_place(document)}: no step may change it")
    try:
        status_of(document.job, str(document.tag), document.task or 0, state, 0, EPOCH)
    except (KeyError, AttributeError):
        raise InvalidInputError(f"a phase or an outcome that there is not, of {_place(document)}") from None


def _place(document: JobDocument) -> str:
    return f"job {document.job!r}" + ("" if document.is_record else f", {document.tag}:{document.task}")
