"""Tools for workers on the command line."""

from __future__ import annotations

from typing import Any


def double(job: Any, _context: Any) -> Any:
    return 2 * job.metadata["n"]


def fail(_job: Any, _context: Any) -> None:
    raise ValueError("no luck")


TOOLS = {"double": double, "fail": fail}
