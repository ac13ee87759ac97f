"""Ids of runs, workstreams and jobs: short enough to be joined in one key, and without what joins them."""

from __future__ import annotations

from typing import Final

from eventstate.core.ids import check_id, encoded_length
from eventstate.errors import InvalidIdError

MAX_BYTES: Final = 400
"""Two of them, and what stands around them, fit into the id of one document."""


def check_name(what: str, value: object) -> str:
    """Return ``value`` if it can name a run, a workstream or a job.

    Raises:
        InvalidIdError: no id, with ``/``, or longer than 400 bytes once escaped.
    """
    name = check_id(what, value)
    if "/" in name:
        raise InvalidIdError(what=what, value=name, rule="'/' is not allowed in it")
    if encoded_length(name) > MAX_BYTES:
        raise InvalidIdError(what=what, value=name, rule=f"it takes more than {MAX_BYTES} bytes encoded")
    return name
