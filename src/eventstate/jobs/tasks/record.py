"""The record of a job whose tasks report: the stream `job` of its governor, and the fence of those who may report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.documents import Delete, Key, Operation, Put, Require
from eventstate.core.ids import check_id
from eventstate.core.leases import Fence
from eventstate.errors import InvalidInputError, SchemaNewerError

RECORD: Final = "job"
"""State id of the record; ids of statuses have a ``:``."""
PREFIX: Final = "jobs/"
SCHEMA: Final = 1
MAX_TASKS: Final = 1_000_000


class JobRecord(NamedTuple):
    """What is known of a job.

    Attributes:
        tasks: how many it has: indexes from 0.
        incarnation: 1, and 1 more each time it was begun anew after it was marked as deleted.
        closed: whether reports are refused.
        deleted: whether it is marked as deleted.
        version: of the record.
        schema: of the job's documents, as the library writes them; callers' own migrations are counted apart.
    """

    tasks: int
    incarnation: int
    closed: bool
    deleted: bool
    version: int
    schema: int = SCHEMA

    @property
    def state(self) -> dict[str, Any]:
        """As it is stored."""
        plain: dict[str, Any] = {"tasks": self.tasks, "schema": self.schema}
        return {**plain, "closed": True} if self.closed else plain


def governor_of(job: object) -> str:
    """The governor that a job's streams belong to.

    Raises:
        InvalidIdError: the job can't have this id.
    """
    return check_id("governor", PREFIX + check_id("job id", job))


def check_tasks(value: object) -> int:
    """How many tasks a job has.

    Raises:
        InvalidInputError: not a whole number from 1 to a million.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TASKS:
        raise InvalidInputError(f"tasks={value!r}: a job has from 1 to {MAX_TASKS:,} tasks")
    return int(value)


def record_of(governor: str, plain: Any, version: int, incarnation: int) -> JobRecord:
    """A stored record of a job that is not deleted.

    Raises:
        SchemaNewerError: a later release has written it, or migrated it.
    """
    schema = plain.get("schema", SCHEMA)
    if schema > SCHEMA:
        raise SchemaNewerError(where=f"job {governor.removeprefix(PREFIX)!r}", found=schema, supported=SCHEMA)
    return JobRecord(plain["tasks"], incarnation, plain.get("closed", False), False, version, schema)


def fence_of(governor: str, incarnation: int) -> Fence:
    """What every report is committed under: gone once the job is closed or deleted."""
    return Fence(governor, RECORD, incarnation)


def put_fence(key: Key, token: str) -> Sequence[Operation]:
    """What opens a job to reports, in the commit of its record."""
    return (Put(key, orjson.dumps({"t": token, "client": RECORD}), Require.ABSENT),)


def delete_fence(key: Key, _token: str) -> Sequence[Operation]:
    """What closes it."""
    return (Delete(key, Require.ANY),)
