"""A planted bug: patches over shipped code, and the cases that must fail because of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from unittest.mock import patch

from eventstate.testing.conformance.suite import Suite

Patch = tuple[object, str, Any]
"""An object, the name of an attribute that it has, and what stands there while the bug is planted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One bug.

    Attributes:
        name: short, for a test's id.
        story: what somebody might have thought when they wrote it so.
        patches: makes the patches, anew for each planting.
        suite: the conformance class with the cases.
        cases: names of the cases, at least one of which must fail; all pass without the bug.
        backend: where they run.
        world: ``sync`` or ``asyncio``.
        in_simulation: whether seeded schedules must find it too.
    """

    name: str
    story: str
    patches: Callable[[], Sequence[Patch]]
    suite: type[Suite]
    cases: Sequence[str]
    backend: Literal["memory", "sqlite"] = "memory"
    world: Literal["sync", "asyncio"] = "sync"
    in_simulation: bool = False

    @contextmanager
    def planted(self) -> Generator[None]:
        """The bug is in the code until the block ends."""
        with ExitStack() as stack:
            for target, name, value in self.patches():
                # A name that shadows a builtin is the only one that need not be there before.
                is_builtin = not hasattr(target, name) and name in _BUILTINS
                stack.enter_context(patch.object(target, name, value, create=is_builtin))
            yield


_BUILTINS = frozenset({"max"})
