"""Retention policies from the command line and from files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from eventstate.errors import ConfigurationError

if TYPE_CHECKING:
    from eventstate.core.retention import RetentionPolicy

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_RULES: Final = ("max_age", "keep_last", "keep_snapshots")


def parse_age(text: str) -> timedelta:
    """A span of time such as ``90d``, ``12h`` or ``2w``.

    Raises:
        ConfigurationError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is no span of time: write 90d, 12h or 2w (s, m, h, d, w)")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        raise ConfigurationError(f"{text!r} is too long a time") from None


def read_policies(path: Path) -> tuple[RetentionPolicy | None, dict[str, RetentionPolicy]]:
    """The default policy of a TOML file, and those by the name of a machine.

    Raises:
        ConfigurationError: it can't be read, or says what is no policy.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    unknown = set(content) - {"default", "machines"}
    if unknown:
        raise ConfigurationError(
            f"{path}: unknown {', '.join(sorted(unknown))}; it may have [default] and [machines.NAME]"
        )
    machines: object = content.get("machines", {})
    if not isinstance(machines, dict):
        raise ConfigurationError(f"{path}: machines must be tables, such as [machines.order]")
    default = _policy(content["default"], f"{path}: [default]") if "default" in content else None
    named = cast("dict[str, Any]", machines)
    return default, {name: _policy(rules, f"{path}: [machines.{name}]") for name, rules in named.items()}


def _policy(rules: object, where: str) -> RetentionPolicy:
    from eventstate.core.retention import RetentionPolicy

    if not isinstance(rules, dict):
        raise ConfigurationError(f"{where} must be a table")
    values: Mapping[str, Any] = cast("Mapping[str, Any]", rules)
    unknown = set(values) - set(_RULES)
    if unknown:
        raise ConfigurationError(f"{where}: unknown {', '.join(sorted(unknown))}; rules are {', '.join(_RULES)}")
    age = values.get("max_age")
    if age is not None and not isinstance(age, str):
        raise ConfigurationError(f'{where}: max_age is a text such as "90d"')
    try:
        return RetentionPolicy(
            max_age=parse_age(age) if age is not None else None,
            keep_last=values.get("keep_last"),
            keep_snapshots=values.get("keep_snapshots"),
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
