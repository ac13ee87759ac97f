"""How the fate of a commit is found out when its answer is missing.

Every rule here exists because the shorter one loses an event or writes it twice:

1. A commit that was answered is final. A refusal is final only for the only copy ever sent: on a
   resend the first copy may be what stands in the way. Reading alone never settles: what is absent
   may still land, and another's document says nothing.
2. Resend the identical batch until it is answered. After a refusal read the head, then the entry,
   then the base, in this order. Our token in the entry: committed. The head moved on and no entry of
   ours above the base: never to be, since revisions do not repeat. The base at or above our version:
   what would prove it is pruned.
3. To kill a batch that may still be in flight, move its head: same version, new revision, on the
   condition that the head is still where the batch needs it.
4. A batch without an entry writes an outcome document; creating that as aborted kills the batch.
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

import enum
from typing import Final, NamedTuple, Self

import orjson

from eventstate.core.documents import ENTRY, HEAD, OUTCOME, Batch, Key, Precondition, Put, Require
from eventstate.core.urlsafe import urlsafe_bytes, urlsafe_text
from eventstate.errors import InvalidInputError

COMMITTED_OUTCOME: Final = "committed"
ABORTED_OUTCOME: Final = "aborted"

PROOF_ASKED_MICROS: Final = 7 * 86_400_000_000
"""How long the fate of a commit without an entry can be asked for. After that its token is expired."""

PROOF_KEPT_MICROS: Final = PROOF_ASKED_MICROS + 86_400_000_000
"""How long its outcome is kept at least: a day more, for clocks that differ and requests that linger."""

_PREFIX: Final = "es1:"


class Verdict(enum.Enum):
    """What the documents read after a refusal say about a batch."""

    COMMITTED = "committed"
    DEAD = "dead"
    EXPIRED = "expired"
    OPEN = "open"
    """It may still land: kill it before calling it refused."""


class Witness(NamedTuple):
    """Where to look for the fate of a batch with an entry: its first stream."""

    owner: str
    stream: str
    version: int
    needs: Precondition

    @property
    def head(self) -> Key:
        return Key(HEAD, self.owner, self.stream)

    @property
    def entry(self) -> Key:
        return Key(ENTRY, self.owner, self.stream, self.version)


def witness_of(batch: Batch) -> Witness | None:
    """The first stream of a batch, or None for a batch without an entry."""
    for operation in batch.operations:
        if isinstance(operation, Put) and operation.key.kind == ENTRY:
            key = operation.key
            head = Key(HEAD, key.owner, key.id)
            needs = next(op.when for op in batch.operations if op.key == head)
            return Witness(owner=key.owner, stream=key.id, version=key.n, needs=needs)
    return None


def judge_entry(
    witness: Witness, token: str, *, head_revision: str | None, entry_token: str | None, base_version: int
) -> Verdict:
    """What a head, then an entry, then a base read in this order say about the batch of ``token``."""
    if entry_token == token:
        return Verdict.COMMITTED
    if base_version >= witness.version:
        return Verdict.EXPIRED
    needed = None if witness.needs is Require.ABSENT else witness.needs
    if head_revision != needed:
        return Verdict.DEAD
    return Verdict.OPEN


def outcome_key(owner: str, token: str) -> Key:
    """Where a batch without an entry leaves its outcome."""
    return Key(OUTCOME, owner, token)


class TokenRef(NamedTuple):
    """A commit token as callers see it: the batch's id, and where its entry would be."""

    id: str
    owner: str
    stream: str
    version: int
    minted: int

    def __str__(self) -> str:
        parts = [self.id, self.owner, self.stream, self.version, self.minted]
        return _PREFIX + urlsafe_text(orjson.dumps(parts))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a token back from its text.

        Raises:
            InvalidInputError: not the text of a token.
        """
        try:
            if not text.startswith(_PREFIX):
                raise ValueError(text)
            token, owner, stream, version, minted = orjson.loads(urlsafe_bytes(text[len(_PREFIX) :]))
            return cls(id=str(token), owner=str(owner), stream=str(stream), version=int(version), minted=int(minted))
        except (AttributeError, TypeError, ValueError):
            raise InvalidInputError(f"{text!r} is no commit token: pass the token of a CommitUnknownError") from None
