"""What can go wrong goes wrong on both persisters and both embedded stores alike."""

from __future__ import annotations

from tests.machines.conftest import world

__all__ = ["world"]
