"""Bugs on purpose: a conformance suite that misses one of them proves nothing.

Each is a patch over shipped code for the time of one test; nothing outside tests uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eventstate.testing.planted.commits import COMMIT_PLANTS
from eventstate.testing.planted.documents import DOCUMENT_PLANTS
from eventstate.testing.planted.files import FILE_PLANTS
from eventstate.testing.planted.locks import LOCK_PLANTS
from eventstate.testing.planted.plant import Plant
from eventstate.testing.planted.streams import STREAM_PLANTS
from eventstate.testing.planted.transactions import TRANSACTION_PLANTS
from eventstate.testing.planted.watches import WATCH_PLANTS

PLANTS: Final[Sequence[Plant]] = (
    *DOCUMENT_PLANTS,
    *FILE_PLANTS,
    *COMMIT_PLANTS,
    *STREAM_PLANTS,
    *WATCH_PLANTS,
    *TRANSACTION_PLANTS,
    *LOCK_PLANTS,
)

__all__ = ["PLANTS", "Plant"]
