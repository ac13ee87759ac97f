"""What Hypothesis plays on a store: the base of the random histories."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine

from eventstate.stores.base import Store
from eventstate.testing.conformance.suite import Suite

T = TypeVar("T")


class StoreMachine(RuleBasedStateMachine):
    """A state machine with a store under it."""

    suite_type: ClassVar[type[Suite]]

    def __init__(self) -> None:
        super().__init__()
        self.suite = self.suite_type()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.suite.world.run(coroutine)

    def open(self) -> Store:
        async def inside() -> Store:
            return self.suite.open()

        return self.run(inside())

    def teardown(self) -> None:
        self.suite.teardown_method()
