"""What everything about one queue shares: its store, its transactions, its lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from eventstate.core.documents import DOCUMENT, Document, Key, Page
from eventstate.core.retrying import RetryPolicy
from eventstate.core.settlement import TokenRef
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import CommitUnknownError
from eventstate.jobs.job import JOBS
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.transaction import QueueTransaction
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.buffering import Left
from eventstate.machines.states import StateSnapshot
from eventstate.machines.transacting import Transacting
from eventstate.stores.base import Store
from eventstate.stores.watching import Watch
from eventstate.transactions.documents import value_of
from eventstate.transactions.fencing import Fences

T = TypeVar("T")

Operation = Callable[[QueueTransaction], Awaitable[T]]

PATIENT: Final = RetryPolicy(attempts=60, initial=0.002, cap=0.25, timeout=30)
ONCE: Final = RetryPolicy(attempts=1)
"""For what is better begun anew with another look."""

RUNS: Final = 2
"""How often a call carries an operation out whose commit turns out not to have been."""

MAX_LEFT: Final = 128
"""How many jobs it remembers as their claims have left them."""

BELLS_WHERE_WRITES_ARE_SLOW: Final = 8
"""One document can be written about once a second on Firestore, so there it is one of several."""


@dataclass
class Doubt:
    """What a call that is made again has to know of the one before: a commit whose fate is unknown.

    Otherwise it would come upon its own work, and take it for somebody else's.
    """

    token: str | None = None
    result: Any = None


class QueueCore:
    """One queue: the jobs of one governor."""

    def __init__(self, store: Store, governor: str) -> None:
        self._transacting = Transacting(
            store,
            governor,
            (JOBS,),
            SnapshotPolicy(),
            guarded=(),
            retry=PATIENT,
            keep_records=False,
            retention=timedelta(days=1),
            shares_states=True,
        )
        self.store = self._transacting.core.store
        self.governor = self._transacting.core.governor
        self.runtime = store.runtime
        self._left: dict[str, Left] = {}
        self._bells = 1 if store.capabilities.feed_order == "store" else BELLS_WHERE_WRITES_ARE_SLOW

    async def run(
        self, operation: Operation[T], *, fence: Fences = None, retry: RetryPolicy = PATIENT, doubt: Doubt | None = None
    ) -> T:
        """Run an operation as a transaction; its result.

        Args:
            doubt: of an earlier call of the same; what is left open is noted there.

        Raises:
            TransactionConflictError: others were faster every time.
            LeaseLostError: a lock of ``fence`` is not held any more.
            CommitUnknownError: the store did not answer for half a minute.
        """
        options = self._transacting.options(
            operation, (), retry=retry, idempotency_key=None, fence=fence, check_repeatable=False
        )
        results: list[T] = []
        last: list[QueueTransaction] = []
        doubt = doubt or Doubt()

        async def call(core: TransactionCore) -> T:
            tx = QueueTransaction(core, self.governor, self._bells, self.runtime.random())
            last[:] = [tx]
            result = await operation(tx)
            results.append(result)
            return result

        runs = 0
        while not await self._is_done(doubt):
            try:
                result = await self._transacting.execute(call, options)
                self._keep(last[0])
                return result
            except CommitUnknownError as error:
                # Only the last attempt can have ended so, and what it would have returned is known.
                doubt.token, doubt.result = error.token, results[-1]
                runs += 1
                if runs == RUNS:
                    raise
        return doubt.result

    def _keep(self, tx: QueueTransaction) -> None:
        left = tx.left()
        if tx.kept is None or left is None:
            return
        if len(self._left) >= MAX_LEFT:  # of attempts that did not end here
            self._left.clear()
        self._left[tx.kept] = left

    def recall(self, job_id: str) -> Left | None:
        """How a claim of this process has left a job; once."""
        return self._left.pop(job_id, None)

    async def _is_done(self, doubt: Doubt) -> bool:
        """Whether a commit in doubt is applied; if not, it never will be."""
        if doubt.token is None:
            return False
        is_done = await self._transacting.committer.settle(TokenRef.parse(doubt.token))
        if not is_done:
            doubt.token = None
        return is_done

    async def list(self, collection: str, prefix: str = "", *, after: str | None = None, limit: int = 100) -> Page:
        """Documents of a collection, as they are now: what is written by them is to be held against them."""
        key = None if after is None else self.key(collection, after)
        return await self.store.scan(DOCUMENT, self.governor, prefix=f"{collection}/{prefix}", after=key, limit=limit)

    async def missing(self, state_ids: Sequence[str]) -> frozenset[str]:
        """Those of these streams that there are not."""
        if not state_ids:
            return frozenset()
        return frozenset(state_ids) - {state.id for state in await self.states(state_ids)}

    async def states(self, state_ids: Sequence[str]) -> list[StateSnapshot[Any]]:
        """Those of these streams that there are."""
        return list((await self._transacting.core.present(state_ids)).values())

    async def states_page(self, status: str | None, after: str | None) -> tuple[list[StateSnapshot[Any]], str | None]:
        """Some of the jobs by id, and where to go on."""
        page = await self._transacting.core.list_page(
            prefix="", machine=JOBS.name, state=status, after=after or "", limit=200
        )
        return list(page.states), page.next

    async def limit(self, name: str) -> int | None:
        """How many jobs may run at the same time that count for a limit; None where any number may."""
        key = self.key(layout.LIMITS, name)
        document = (await self.store.get((key,))).documents.get(key)
        return None if document is None else value_of(document)["n"]

    def key(self, collection: str, id: str) -> Key:
        return Key(DOCUMENT, self.governor, f"{collection}/{id}")

    def watch(self) -> Watch:
        """Wake-ups when a job has become ready, a slot free, or a running job is to be cancelled."""
        return self.store.watch(self._bell_keys)

    async def rung(self) -> Mapping[Key, Document]:
        """The bells, as they were rung last."""
        return (await self.store.get(self._bell_keys)).documents

    @property
    def _bell_keys(self) -> list[Key]:
        return [self.key(layout.BELLS, str(number)) for number in range(self._bells)]


def id_in(document: Document) -> str:
    """The id of a document in its collection."""
    return document.key.id.partition("/")[2]
