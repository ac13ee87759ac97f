"""Tools for workers on the command line."""

from __future__ import annotations

from typing import Any


def double(job: Any, _context: Any) -> Any:
    return 2 * job.metadata["n"]


def fail(_job: Any, _context: Any) -> None:
    raise ValueError("no luck")


def pad(job: Any, _context: Any) -> Any:
    """A result of some size, and a line for each call in a file that is not the store's."""
    with open(job.metadata["ledger"], "a") as ledger:
        ledger.write(f"{job.job_id}\n")
    return "x" * job.metadata["size"]


TOOLS = {"double": double, "fail": fail, "pad": pad}
