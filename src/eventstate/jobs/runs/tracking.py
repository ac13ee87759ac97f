"""What both stores of jobs write, once. Each call is one commit."""

from __future__ import annotations

from eventstate.jobs.runs.keeping import Keeping
from eventstate.jobs.runs.reporting import Reporting


class Tracking(Keeping, Reporting):
    """The runs, workstreams and jobs of one governor of one store, as they are written."""
