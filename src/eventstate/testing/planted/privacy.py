"""Bugs in what protects personal data: what is left in the clear, and what is left of a key."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eventstate.core.documents import SECRET, Batch, Document
from eventstate.core.format import NewEvent
from eventstate.core.privacy import Envelope
from eventstate.log.keyring import KeyringCore, Tombstone
from eventstate.machines.protecting import ProtectedFold
from eventstate.testing.conformance.privacy import ErasureCases, KeyringCases
from eventstate.testing.planted.plant import Patch, Plant

_erasure = KeyringCore._erasure
_encrypted = ProtectedFold._encrypted
_materials = ProtectedFold._materials
_keys_of = ProtectedFold._keys_of


def _states_in_the_clear() -> list[Patch]:
    def dump(self: ProtectedFold, state: Any) -> bytes:
        return self.bare.dump(state)

    return [(ProtectedFold, "dump", dump)]


def _recorded_in_the_clear() -> list[Patch]:
    def keys_of(self: ProtectedFold, event: NewEvent) -> Any:
        return {} if event.state is not None else _keys_of(self, event)

    return [(ProtectedFold, "_keys_of", keys_of)]


def _state_under_one_key() -> list[Patch]:
    def encrypted(self: ProtectedFold, text: bytes, keys: Any, place: Any) -> bytes:
        one = dict(list(keys.items())[:1]) if place.what == "state" else keys
        return _encrypted(self, text, one, place)

    return [(ProtectedFold, "_encrypted", encrypted)]


def _key_kept() -> list[Patch]:
    def erasure(self: KeyringCore, document: Document, counter: Document, remains: dict[str, Any]) -> Batch:
        batch = _erasure(self, document, counter, remains)
        return batch._replace(operations=tuple(op for op in batch.operations if op.key.kind != SECRET))

    return [(KeyringCore, "_erasure", erasure)]


def _never_asked_again() -> list[Patch]:
    async def refresh(self: KeyringCore) -> None:
        if self._erasures is None:
            self._erasures = 0
            self._generation += 1

    return [(KeyringCore, "refresh", refresh)]


def _lost_is_erased() -> list[Patch]:
    def materials(self: ProtectedFold, envelope: Envelope, where: str) -> Any:
        if any(self._keyring.material(id) is None for id in envelope.keys):
            return Tombstone(0, "")
        return _materials(self, envelope, where)

    return [(ProtectedFold, "_materials", materials)]


def _newest_only() -> list[Patch]:
    def erasure(self: KeyringCore, document: Document, counter: Document, remains: dict[str, Any]) -> Batch:
        return _erasure(self, document, counter, {**remains, "keys": remains["keys"][-1:]})

    return [(KeyringCore, "_erasure", erasure)]


PRIVACY_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="states-in-the-clear",
        story="The events are encrypted; a head is only a cache.",
        patches=_states_in_the_clear,
        suite=ErasureCases,
        cases=["test_what_is_written_is_read_and_never_stored_in_the_clear"],
    ),
    Plant(
        name="recorded-states-in-the-clear",
        story="A recorded state is no event of a type with a subject.",
        patches=_recorded_in_the_clear,
        suite=ErasureCases,
        cases=["test_recorded_states_are_encrypted_under_the_subject_they_name"],
    ),
    Plant(
        name="state-under-the-first-key",
        story="One key is enough to keep others out.",
        patches=_state_under_one_key,
        suite=ErasureCases,
        cases=["test_one_of_several_subjects_of_a_stream_is_erased"],
    ),
    Plant(
        name="key-outlives-its-subject",
        story="Without its subject nobody finds the key.",
        patches=_key_kept,
        suite=KeyringCases,
        cases=["test_the_key_and_the_name_are_gone_from_the_keyring"],
    ),
    Plant(
        name="newest-key-destroyed-only",
        story="The old keys are not used any more.",
        patches=_newest_only,
        suite=KeyringCases,
        cases=["test_a_new_key_is_for_what_comes_after"],
    ),
    Plant(
        name="keys-cached-for-ever",
        story="A key never changes.",
        patches=_never_asked_again,
        suite=KeyringCases,
        cases=["test_others_learn_of_an_erasure"],
    ),
    Plant(
        name="lost-is-erased",
        story="A key that is not there was erased, what else.",
        patches=_lost_is_erased,
        suite=ErasureCases,
        cases=["test_a_lost_key_is_told_from_an_erased_one"],
    ),
)
