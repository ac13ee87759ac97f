"""What both persisters do, written once: coroutines that wait only through the store's runtime."""

from __future__ import annotations

from eventstate.machines.upkeep import Upkeep
from eventstate.machines.writing import Writing


class PersisterCore(Writing, Upkeep):
    """The operations of a persister on one governor of one store."""
