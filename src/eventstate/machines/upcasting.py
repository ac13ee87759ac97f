"""Old event data brought to the present schema, one version at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eventstate.errors import ConfigurationError, SchemaNewerError, UpcastError


class Upcasters:
    """The chains of one machine, checked for gaps when it is declared."""

    def __init__(
        self, machine: str, schemas: Mapping[str, int], upcasters: Mapping[str, Mapping[int, Callable[[Any], Any]]]
    ) -> None:
        self._schemas = dict(schemas)
        self._steps = {name: dict(steps) for name, steps in upcasters.items()}
        for name in set(self._schemas) | set(self._steps):
            current = self.current(name)
            given = self._steps.get(name, {})
            missing = sorted(set(range(1, current)) - set(given))
            if missing:
                raise ConfigurationError(f"machine {machine!r}: no upcaster for {name!r} from schema {missing[0]}")
            if any(old >= current for old in given):
                raise ConfigurationError(
                    f"machine {machine!r}: an upcaster for {name!r} goes beyond its schema {current}; raise schemas="
                )

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
