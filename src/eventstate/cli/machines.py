"""Declared machines from ``--machines package.module:name``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from eventstate.core.ids import machine_of
from eventstate.errors import ConfigurationError
from eventstate.jobs.migrations.steps import Migration
from eventstate.machines.machine import Machine
from eventstate.machines.projection import Projection

AnyMachine = Machine[Any, Any]


def load_machines(names: Sequence[str]) -> list[AnyMachine]:
    """The machines that ``module:name`` texts name, each once, also from the current folder.

    Raises:
        ConfigurationError: the module can't be imported, or there is no Machine under the name.
    """
    found = [machine for name in names for machine in _load(name)]
    return list(dict.fromkeys(found))


def load_projection(text: str) -> Projection:
    """The projection that a ``module:name`` text names, also from the current folder.

    Raises:
        ConfigurationError: the module can't be imported, or there is no Projection under the name.
    """
    found = named(text, f"{text!r}")
    if not isinstance(found, Projection):
        raise ConfigurationError(f"{text!r} is no Projection")
    return found


def load_migrations(names: Sequence[str]) -> list[Migration]:
    """The steps that ``module:name`` texts name, also from the current folder.

    Raises:
        ConfigurationError: the module can't be imported, or there is no Migration under the name.
    """
    found: list[Migration] = []
    for name in names:
        steps = _members(named(name, f"--steps {name!r}"))
        if not steps or not all(isinstance(step, Migration) for step in steps):
            raise ConfigurationError(f"--steps {name!r} is no Migration, nor a list or dict of them")
        found.extend(cast("list[Migration]", steps))
    return found


def _load(text: str) -> list[AnyMachine]:
    machines = _members(named(text, f"--machines {text!r}"))
    if not machines or not all(isinstance(machine, Machine) for machine in machines):
        raise ConfigurationError(f"--machines {text!r} is no Machine, nor a list or dict of them")
    return cast("list[AnyMachine]", machines)


def named(text: str, shown: str) -> object:
    """What ``module:name`` stands for."""
    module_name, separator, name = text.partition(":")
    if not (module_name and separator and name):
        raise ConfigurationError(f"{shown}: write package.module:name")
    target: Any = _module(shown, module_name)
    for part in name.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            raise ConfigurationError(f"{shown}: {module_name} has no {name!r}") from None
    return target


def _module(shown: str, name: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"{shown}: importing {name} failed with {reason}") from error


def _members(target: object) -> list[object]:
    if isinstance(target, Mapping):
        return list(cast("Mapping[object, object]", target).values())
    if isinstance(target, Iterable) and not isinstance(target, str | bytes):
        return list(cast("Iterable[object]", target))
    return [target]


def machine_for(names: Sequence[str], state_id: str) -> AnyMachine | None:
    """The declared machine that a state id belongs to, if it is among them."""
    name = machine_of(state_id)
    return next((machine for machine in load_machines(names) if machine.name == name), None)
