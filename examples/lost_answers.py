"""A store that applies commits and loses the answers, and what the library makes of it.

Each append is sent, applied, and answered by silence. The library sends the identical batch again, is refused by its
own first copy, reads the entry, and finds its own token there: committed, once.
"""

from __future__ import annotations

from eventstate import StateMachinePersister
from eventstate.core.documents import Batch, CommitResult, Committed, Unknown
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.memory import MemoryStore


class ForgetfulStore(MemoryStore):
    """Loses the answer to each new commit; what is sent again is answered."""

    def __init__(self) -> None:
        super().__init__(BlockingRuntime())
        self._sent: set[str] = set()
        self.lost = 0

    async def commit(self, batch: Batch) -> CommitResult:
        result = await super().commit(batch)
        is_new = batch.token not in self._sent
        self._sent.add(batch.token)
        if is_new and isinstance(result, Committed):
            self.lost += 1
            return Unknown("the answer was lost on its way")
        return result


def main() -> None:
    with ForgetfulStore() as store:
        meters = StateMachinePersister(store, governor="meters")
        meter = meters.save_state("meter-1", {"count": 0}, expected=0)
        for count in range(1, 6):
            meter = meters.update_state("meter-1", {"count": count}, expected=meter)
        print(f"{store.lost} answers lost, version {meter.version}, state {meter.data}")
        print("counts:", [event.to_state["count"] for event in meters.history("meter-1")])


if __name__ == "__main__":
    main()
