"""Projections of the tests; imported by the command line as ``tests.cli.projections:...``."""

from __future__ import annotations

from eventstate import Projection, ProjectionView
from eventstate.machines.deliveries import Delivery


def count(event: Delivery, view: ProjectionView) -> None:
    view.put(event.action, (view.get(event.action) or 0) + 1)


COUNTS = Projection("counts", count)
ORDER_COUNTS = Projection("counts", count, version=2, machines=["order"])
NO_PROJECTION = 42
