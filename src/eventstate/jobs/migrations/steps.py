"""Steps from one schema of a job's documents to the next. A step computes, and does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from eventstate.core.codec import encode
from eventstate.errors import ConfigurationError, DocumentTooLargeError, InvalidInputError
from eventstate.jobs.tasks.record import check_tasks
from eventstate.jobs.tasks.status import MAX_STATUS_BYTES, check_status

OWN_VERSIONS: Final = 100
"""Versions below are the library's own; those of callers begin here, so that they never meet."""


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
            several times on the same document, but what it returned is stored once.

    Raises:
        ConfigurationError: the version is no whole number from 1.
    """

    version: int
    name: str
    change: Change

    def __post_init__(self) -> None:
        if isinstance(self.version, bool) or not isinstance(self.version, int) or self.version < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"migration {self.name!r} has version {self.version!r}: versions begin at 1")


def _check(document: JobDocument) -> None:
    """Jobs from before there were versions are of this form already."""
    if document.is_record:
        check_tasks(document.state.get("tasks"))
    else:
        check_status(document.state.get("status"))


OWN: Final = (Migration(version=1, name="number of tasks and statuses", change=_check),)
"""The steps that the library has itself."""


class Steps:
    """All steps that are known, in their order.

    Raises:
        ConfigurationError: two have one version, or one of the caller's has a version of the library's own.
    """

    def __init__(self, steps: Iterable[Migration]) -> None:
        given = tuple(steps)
        for step in given:
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
        if asked not in known:
            raise InvalidInputError(
                f"target={asked!r}: no migration leads there; there are those to {', '.join(map(str, known))}"
            )
        return asked

    def between(self, version: int, target: int) -> Sequence[Migration]:
        """The steps from a version to a later one."""
        return [step for step in self._steps if version < step.version <= target]


def changed(step: Migration, document: JobDocument) -> dict[str, Any] | None:
    """What a step makes of a document; None where nothing changes.

    Raises:
        InvalidInputError: it gave something that can't be stored in the place.
        DocumentTooLargeError: it gave too much.
    """
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
        check_tasks(state.get("tasks"))
        state.pop("schema", None)
    else:
        check_status(state.get("status"))
    text = encode(state)
    if len(text) > MAX_STATUS_BYTES:
        raise DocumentTooLargeError(what=f"what migration {step.version} made", size=len(text), limit=MAX_STATUS_BYTES)
    return None if text == before else state


def _place(document: JobDocument) -> str:
    return f"job {document.job!r}" + ("" if document.is_record else f", {document.tag}:{document.task}")
