"""The place of a replay check in a file, so that one that was stopped goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from eventstate.core.differences import Difference
from eventstate.errors import ConfigurationError
from eventstate.log.replaying import Divergence, ReplayReport
from eventstate.stores.own_files import refuse_own


def read_place(file: Path, asked: Sequence[Any]) -> ReplayReport | None:
    """The report so far of the same check; None where there is no file.

    Raises:
        ConfigurationError: the file is of another check, or none at all.
        InvalidInputError: it is a store's own.
    """
    refuse_own(file)
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        kept = orjson.loads(text)
        report = ReplayReport(**kept["report"])
        report.divergences = [_divergence(divergence) for divergence in kept["divergences"]]
        is_same_check = kept["asked"] == list(asked)
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"--resume {file}: it holds no place of a replay check; remove it") from None
    if not is_same_check:
        raise ConfigurationError(f"--resume {file}: it is the place of another check; remove it, or name another file")
    return report


def write_place(file: Path, asked: Sequence[Any], report: ReplayReport) -> None:
    """Replace the place as a whole, so that a kill leaves the one before it."""
    divergences = [_members(d, "changes") | {"changes": list(map(list, d.changes))} for d in report.divergences]
    kept = {"asked": list(asked), "report": _members(report, "divergences"), "divergences": divergences}
    beside = file.with_name(f"{file.name}.new")
    beside.touch(mode=0o600)  # it shows parts of states
    beside.write_bytes(orjson.dumps(kept))
    beside.replace(file)


def remove_place(file: Path) -> None:
    """A check that has come to its end begins anew when it is run again."""
    file.unlink(missing_ok=True)


def _members(value: ReplayReport | Divergence, apart: str) -> dict[str, Any]:
    """The fields of a dataclass, but for one."""
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name != apart}


def _divergence(kept: dict[str, Any]) -> Divergence:
    changes = [Difference(*change) for change in kept.pop("changes")]
    return Divergence(changes=changes, **kept)
