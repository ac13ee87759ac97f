"""Commit a batch and come back with its fate: committed or refused, never a guess.

The rules are those of `eventstate.core.settlement`; this module does the sending and reading.
"""

from __future__ import annotations

from eventstate.core.backoff import full_jitter
from eventstate.core.documents import (
    ENTRY,
    Batch,
    Committed,
    Document,
    Key,
    Put,
    Refused,
    Require,
    Unknown,
)
from eventstate.core.format import decode_head, retokened_head, token_in, unborn
from eventstate.core.planner import plan_head
from eventstate.core.settlement import (
    ABORTED_OUTCOME,
    COMMITTED_OUTCOME,
    PROOF_ASKED_MICROS,
    TokenRef,
    Verdict,
    Witness,
    judge_entry,
    outcome_key,
    witness_of,
)
from eventstate.errors import (
    CommitUnknownError,
    CorruptionError,
    StoreError,
    StoreUnavailableError,
    TokenExpiredError,
)
from eventstate.stores.base import Store

SETTLE_SECONDS = 15.0
"""How long a missing answer is pursued before it is reported as unknown."""


class Committer:
    """Sends batches of one governor to a store and settles missing answers."""

    def __init__(self, store: Store, owner: str, *, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._store = store
        self._owner = owner
        self._settle_seconds = settle_seconds

    async def commit(self, batch: Batch) -> Committed | Refused:
        """Commit a batch that holds an entry, or one made by `with_outcome`.

        Returns Refused only when the batch is not applied and never will be.

        Raises:
            CommitUnknownError: no answer within the settling time.
            TokenExpiredError: what would prove the outcome is pruned.
            StoreError: certainly nothing was applied.
        """
        result = await self._store.commit(batch)
        if isinstance(result, Unknown):
            return await self._settle(batch, result.cause)
        return result

    async def commit_guarded(self, batch: Batch) -> Committed | Refused:
        """Commit a batch whose own revisions guard it (head rewrites, cursors, renewals).

        After a missing answer it is sent again; a refusal of the resend is then a refusal unless
        one of its documents carries its token. Should a later commit have covered a success, the
        refusal is harmless: the caller reads again and finds its work done.

        Raises:
            StoreUnavailableError: no answer within the settling time; the call may be made again.
        """
        result = await self._store.commit(batch)
        started = self._store.runtime.monotonic()
        attempt = 0
        while isinstance(result, Unknown):
            attempt += 1
            if self._store.runtime.monotonic() - started > self._settle_seconds:
                raise StoreUnavailableError(store=self._store.url, detail=f"no answer ({result.cause}); call again")
            await self._store.runtime.sleep(full_jitter(attempt, self._store.runtime.random(), initial=0.02))
            result = await self._resend(batch)
            if isinstance(result, Refused):
                try:
                    return await self._committed_by_token(batch) or result
                except StoreError as error:
                    result = Unknown(str(error))
        return result

    def with_outcome(self, batch: Batch) -> Batch:
        """A batch without an entry, made provable: it leaves an outcome document under its token."""
        body = _outcome_body(batch.token, COMMITTED_OUTCOME)
        put = Put(outcome_key(self._owner, batch.token), body, Require.ABSENT)
        return Batch(batch.token, (*batch.operations, put))

    async def settle(self, reference: TokenRef) -> bool:
        """Whether the commit of a token is applied; if it is not, it never will be afterwards.

        Raises:
            CommitUnknownError: the store did not answer in time; ask again.
            TokenExpiredError: what would prove it is pruned.
            CorruptionError: the stream's head is corrupt or missing; loading or appending mends it.
        """
        if not reference.stream and self._store.runtime.now() - reference.minted > PROOF_ASKED_MICROS:
            raise TokenExpiredError(token=str(reference), detail="its outcome is kept for a week")
        started = self._store.runtime.monotonic()
        attempt = 0
        while True:
            cause = "its head or outcome changes all the time"
            try:
                if not reference.stream:
                    verdict = await self._judge_outcome(reference.id)
                else:
                    verdict = await self._judge_moved(reference)
            except StoreError as error:
                verdict, cause = Verdict.OPEN, str(error)
            if verdict is not Verdict.OPEN:
                return self._final(verdict, reference)
            attempt += 1
            await self._pause(attempt, started, reference, cause)

    async def _judge_moved(self, reference: TokenRef) -> Verdict:
        """Judge a token whose batch is not at hand: unless its entry is there or pruned, move the head first.

        Then no copy can land any more.
        """
        head = Witness(owner=reference.owner, stream=reference.stream, version=reference.version, needs=Require.ANY)
        verdict = await self._judge_stream(head, reference.id)
        if verdict is not Verdict.DEAD:
            return verdict
        if not await self._move_head(head):
            return Verdict.OPEN
        return await self._judge_stream(head, reference.id)

    async def _settle(self, batch: Batch, cause: str) -> Committed | Refused:
        witness = witness_of(batch)
        reference = self._reference(batch)
        started = self._store.runtime.monotonic()
        attempt = 0
        while True:
            attempt += 1
            await self._pause(attempt, started, reference, cause)
            result = await self._resend(batch)
            if isinstance(result, Unknown):
                cause = result.cause
                continue
            if isinstance(result, Committed):
                return result
            try:
                verdict = await self._judge(witness, batch.token)
            except StoreError as error:  # a read that fails settles nothing, and the batch may be applied
                cause = str(error)
                continue
            if verdict is Verdict.OPEN:
                continue
            if self._final(verdict, reference):
                return await self._found_committed(batch)
            return Refused(None)

    async def _judge(self, witness: Witness | None, token: str) -> Verdict:
        """Judge a batch that was refused when sent again, and kill it where it could still land."""
        if witness is None:
            return await self._judge_outcome(token)
        verdict = await self._judge_stream(witness, token)
        if verdict is Verdict.OPEN and await self._move_head(witness):
            verdict = await self._judge_stream(witness, token)
        return verdict

    async def _found_committed(self, batch: Batch) -> Committed:
        try:
            return await self._committed_by_token(batch) or Committed({}, 0)
        except StoreError:  # what its revisions are is unknown, that it is committed is not
            return Committed({}, 0)

    async def _resend(self, batch: Batch) -> Committed | Refused | Unknown:
        try:
            return await self._store.commit(batch)
        except StoreError as error:  # this copy did nothing; the first may have
            return Unknown(str(error))

    async def _judge_stream(self, witness: Witness, token: str) -> Verdict:
        head = await self._read(witness.head)
        entry = await self._read(witness.entry)
        base = await self._read(witness.head)
        return judge_entry(
            witness,
            token,
            head_revision=head.revision if head else None,
            entry_token=token_in(entry.body) if entry else None,
            base_version=_base_version(base),
        )

    async def _move_head(self, witness: Witness) -> bool:
        """Give the head a new revision; True when it was moved from where the batch needs it.

        Raises:
            CorruptionError: there is no head, though there are entries: none may be made before them.
        """
        runtime = self._store.runtime
        document = await self._read(witness.head)
        token = runtime.unique()
        if document is None:
            if (await self._store.scan(ENTRY, witness.owner, id=witness.stream, limit=1)).documents:
                if await self._read(witness.head) is not None:  # it was made between the two reads
                    return False
                problem = "the head is missing though its entries are there"
                raise CorruptionError(where=str(witness.head), problem=problem)
            tip = unborn(witness.owner, witness.stream)
            batch = plan_head(tip, None, "", {}, token=token).batch
        else:
            batch = Batch(token, (Put(document.key, retokened_head(document, token), document.revision),))
        try:
            return isinstance(await self._store.commit(batch), Committed)
        except StoreError:
            return False

    async def _judge_outcome(self, token: str) -> Verdict:
        key = outcome_key(self._owner, token)
        abort = Batch(token, (Put(key, _outcome_body(token, ABORTED_OUTCOME), Require.ABSENT),))
        if isinstance(await self._resend(abort), Unknown):
            return Verdict.OPEN
        document = await self._read(key)
        if document is None:
            return Verdict.EXPIRED
        return Verdict.DEAD if document.body == _outcome_body(token, ABORTED_OUTCOME) else Verdict.COMMITTED

    async def _committed_by_token(self, batch: Batch) -> Committed | None:
        """What is known of a batch found committed: the revisions that are still its own."""
        keys = [operation.key for operation in batch.operations if isinstance(operation, Put)]
        found = (await self._store.get(keys)).documents
        own = {key: doc for key, doc in found.items() if token_in(doc.body) == batch.token}
        if not own:
            return None
        return Committed({key: doc.revision for key, doc in own.items()}, max(doc.written_at for doc in own.values()))

    async def _read(self, key: Key) -> Document | None:
        return (await self._store.get([key])).documents.get(key)

    async def _pause(self, attempt: int, started: float, reference: TokenRef, cause: str) -> None:
        runtime = self._store.runtime
        if runtime.monotonic() - started > self._settle_seconds:
            raise CommitUnknownError(token=str(reference), detail=cause)
        await runtime.sleep(full_jitter(attempt, runtime.random(), initial=0.02))

    def _reference(self, batch: Batch) -> TokenRef:
        witness = witness_of(batch)
        stream, version = (witness.stream, witness.version) if witness else ("", 0)
        minted = self._store.runtime.now()
        return TokenRef(id=batch.token, owner=self._owner, stream=stream, version=version, minted=minted)

    def _final(self, verdict: Verdict, reference: TokenRef) -> bool:
        if verdict is Verdict.EXPIRED:
            raise TokenExpiredError(token=str(reference), detail="its entry has been pruned")
        return verdict is Verdict.COMMITTED


def _outcome_body(token: str, outcome: str) -> bytes:
    return f'{{"t":"{token}","outcome":"{outcome}"}}'.encode()


def _base_version(document: Document | None) -> int:
    if document is None:
        return 0
    base = decode_head(document)[0].tip.base
    return base.version if base else 0
