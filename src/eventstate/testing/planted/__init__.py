"""Bugs on purpose: a conformance suite that misses one of them proves nothing.

Each is a patch over shipped code for the time of one test; nothing outside tests uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eventstate.testing.planted.commits import COMMIT_PLANTS
from eventstate.testing.planted.documents import DOCUMENT_PLANTS
from eventstate.testing.planted.files import FILE_PLANTS
from eventstate.testing.planted.job_queues import JOB_QUEUE_PLANTS
from eventstate.testing.planted.locks import LOCK_PLANTS
from eventstate.testing.planted.migrations import MIGRATION_PLANTS
from eventstate.testing.planted.orchestrations import ORCHESTRATION_PLANTS
from eventstate.testing.planted.plant import Plant
from eventstate.testing.planted.privacy import PRIVACY_PLANTS
from eventstate.testing.planted.projections import PROJECTION_PLANTS
from eventstate.testing.planted.retention import RETENTION_PLANTS
from eventstate.testing.planted.runs import RUN_PLANTS
from eventstate.testing.planted.seals import SEAL_PLANTS
from eventstate.testing.planted.streams import STREAM_PLANTS
from eventstate.testing.planted.subscriptions import SUBSCRIPTION_PLANTS
from eventstate.testing.planted.tasks import TASK_PLANTS
from eventstate.testing.planted.time_travel import TIME_TRAVEL_PLANTS
from eventstate.testing.planted.transactions import TRANSACTION_PLANTS
from eventstate.testing.planted.transfers import TRANSFER_PLANTS
from eventstate.testing.planted.watches import WATCH_PLANTS
from eventstate.testing.planted.workers import WORKER_PLANTS

PLANTS: Final[Sequence[Plant]] = (
    *DOCUMENT_PLANTS,
    *FILE_PLANTS,
    *COMMIT_PLANTS,
    *STREAM_PLANTS,
    *WATCH_PLANTS,
    *SUBSCRIPTION_PLANTS,
    *TRANSACTION_PLANTS,
    *LOCK_PLANTS,
    *JOB_QUEUE_PLANTS,
    *WORKER_PLANTS,
    *RETENTION_PLANTS,
    *SEAL_PLANTS,
    *TRANSFER_PLANTS,
    *PROJECTION_PLANTS,
    *TASK_PLANTS,
    *TIME_TRAVEL_PLANTS,
    *PRIVACY_PLANTS,
    *RUN_PLANTS,
    *ORCHESTRATION_PLANTS,
    *MIGRATION_PLANTS,
)

__all__ = ["PLANTS", "Plant"]
