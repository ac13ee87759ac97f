"""Old event data brought to the present schema, one version at a time; what is declared of it is checked at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from eventstate.errors import ConfigurationError, SchemaNewerError, UpcastError


class Upcasters:
    """The chains of one machine, checked for gaps when it is declared.

    Args:
        known: the names of its event types; empty for a machine that takes any.

    Raises:
        ConfigurationError: a chain has a gap or goes too far, or is of an event type that the machine does not have.
    """

    def __init__(
        self,
        machine: str,
        schemas: Mapping[str, int],
        upcasters: Mapping[str, Mapping[int, Callable[[Any], Any]]],
        known: Collection[str] = (),
    ) -> None:
        self._schemas = dict(schemas)
        self._steps = {name: dict(steps) for name, steps in upcasters.items()}
        for name in set(self._schemas) | set(self._steps):
            current = self.current(name)
            if known and name not in known:
                raise ConfigurationError(f"machine {machine!r}: schemas= or upcasters= name {name!r}, no event of it")
            if not _is_schema(current):
                raise ConfigurationError(f"machine {machine!r}: schema {current!r} of {name!r}; schemas begin at 1")
            given = self._steps.get(name, {})
            missing = sorted(set(range(1, current)) - set(given))
            if missing:
                raise ConfigurationError(f"machine {machine!r}: no upcaster for {name!r} from schema {missing[0]}")
            check_old(f"machine {machine!r}: an upcaster for {name!r}", given, current, "schemas=")

    def current(self, name: str) -> int:
        """The present schema version of an event type."""
        return self._schemas.get(name, 1)

    def upcast(self, name: str, schema: int, data: Any, where: str) -> Any:
        """Data of the present schema.

        Raises:
            SchemaNewerError: newer code wrote it.
            UpcastError: an upcaster failed.
        """
        current = self.current(name)
        if schema > current:
            raise SchemaNewerError(where=where, found=schema, supported=current)
        for old in range(schema, current):
            try:
                data = self._steps[name][old](data)
            except Exception as error:
                problem = f"the upcaster of {name!r} from schema {old} failed: {type(error).__name__}: {error}"
                raise UpcastError(where=where, problem=problem) from error
        return data


def check_old(what: str, given: Iterable[int], current: int, option: str) -> None:
    """Refuse upcasters from what is no older schema: nothing would ever call them.

    Raises:
        ConfigurationError: there is one.
    """
    for old in given:
        if not _is_schema(old):
            raise ConfigurationError(f"{what} from schema {old!r}; schemas begin at 1")
        if old >= current:
            raise ConfigurationError(f"{what} goes beyond its schema {current}; raise {option}")


def check_renamed(machine: str, renamed: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse renamings that could not be followed when events are read.

    Raises:
        ConfigurationError: an old name is still in use, or a new one is not that of an event type.
    """
    for old, new in renamed.items():
        if old in known:
            raise ConfigurationError(
                f"machine {machine!r}: renamed={{{old!r}: {new!r}}}, but {old!r} is the name of an event type now: new"
                " events of it would be read as the other"
            )
        if new in renamed or (known and new not in known):
            raise ConfigurationError(
                f"machine {machine!r}: renamed={{{old!r}: {new!r}}}, but {new!r} is no event type now; give the"
                " present name"
            )


def _is_schema(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
