"""What keyrings promise: personal data is stored encrypted only, and what was erased is gone everywhere for good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from eventstate.core.documents import (
    COMMAND,
    ENTRY,
    HEAD,
    KEYRING,
    OUTCOME,
    SECRET,
    SNAPSHOT,
    SUBJECT,
    TRANSACTION,
    Delete,
    Key,
    Require,
)
from eventstate.core.expected import ANY
from eventstate.core.privacy import Erased
from eventstate.errors import (
    ConfigurationError,
    DecryptionError,
    EncodingError,
    IdempotencyMismatchError,
    InvalidInputError,
    KeyLostError,
    SubjectErasedError,
    SubjectNotFoundError,
)
from eventstate.machines.async_keyring import AsyncKeyring
from eventstate.machines.async_transaction_manager import AsyncTransactionManager
from eventstate.machines.events import Event
from eventstate.machines.keyring import Keyring
from eventstate.machines.machine import Machine
from eventstate.machines.transaction_manager import TransactionManager
from eventstate.stores.base import Store
from eventstate.stores.memory import MemoryStore
from eventstate.testing.conformance.persisters import GOVERNOR, Face, PersisterSuite
from eventstate.testing.conformance.suite import case, commit, raises
from eventstate.testing.faults import Fault, FaultyStore

CANARY: Final = "canary-7f3a91@example.org"
"""Personal data that must not be stored in the clear."""

KINDS: Final = (ENTRY, HEAD, SNAPSHOT, COMMAND, TRANSACTION, OUTCOME)


@dataclass(frozen=True, slots=True)
class Guest:
    """A state with personal data, and with data that is about nobody."""

    status: str = "new"
    mail: str = ""
    nights: int = 0


@dataclass(frozen=True, slots=True)
class CheckedIn:
    guest: str
    mail: str


@dataclass(frozen=True, slots=True)
class Stayed:
    nights: int


def lodge(guest: Guest, event: CheckedIn | Stayed) -> Guest:
    match event:
        case CheckedIn(mail=mail):
            return replace(guest, status="in", mail=f"{guest.mail};{mail}")
        case Stayed(nights=nights):
            return replace(guest, nights=guest.nights + nights)


def leave_out(guest: Guest, _event: Erased) -> Guest:
    return replace(guest, status="in")


GUESTS: Final[Machine[Guest, Any]] = Machine(
    "guest",
    Guest(),
    lodge,
    state_of="status",
    subjects={CheckedIn: "guest"},
    state_subject="mail",
    erased=leave_out,
)
PROFILES: Final[Machine[Any, Any]] = Machine("profile", {}, state_subject="owner.id")


def check_in_ada(_guest: Guest) -> CheckedIn:
    return CheckedIn("ada", CANARY)


async def stored_bytes(store: Store, governor: str = GOVERNOR) -> bytes:
    """All bodies of a store."""
    found: list[bytes] = []
    for kind in KINDS:
        after: Key | None = None
        while True:
            page = await store.scan(kind, governor, after=after)
            found.extend(document.body for document in page.documents)
            after = page.next
            if after is None:
                break
    return b"\n".join(found)


class PrivacySuite(PersisterSuite):
    """A suite whose events are in one store and whose keys are in another."""

    def aside(self) -> Store:
        """A store in memory, apart from the one that is tested."""
        store = MemoryStore(self.world.runtime())
        self._opened = [*(self._opened or ()), store]
        return store

    def keyring(self, store: Store | None = None, *, fresh_seconds: float = 0, governor: str = GOVERNOR) -> Any:
        face = Keyring if self.world.name == "sync" else AsyncKeyring
        return face(store or self.aside(), governor=governor, fresh_seconds=fresh_seconds)

    def protected(self, keyring: Any, store: Store, **options: Any) -> Face:
        return self.persister(store, keyring=keyring, machines=[GUESTS, PROFILES], **options)

    async def lodged(self, persister: Face, id: str = "1", guest: str = "ada", nights: int = 4) -> Any:
        """A guest who checks in and stays."""
        state = await persister.append(GUESTS, id, CheckedIn(guest, f"{guest}:{CANARY}"), expected=0)
        for _ in range(nights):
            state = await persister.append(GUESTS, id, Stayed(1), expected=state)
        return state


class ErasureCases(PrivacySuite):
    """Events in the store that is tested, keys in memory."""

    @case
    async def test_what_is_written_is_read_and_never_stored_in_the_clear(self) -> None:
        store, keyring = self.open(), self.keyring()
        persister = self.protected(keyring, store, snapshot_every=2)
        written = await self.lodged(persister)
        assert written.data == Guest("in", f";ada:{CANARY}", 4)
        cold = self.protected(keyring, store)
        assert (await cold.load(GUESTS, "1")).data == written.data
        assert (await cold.load(GUESTS, "1", at_version=3)).data == Guest("in", f";ada:{CANARY}", 2)
        history = await cold.history(GUESTS, "1")
        assert history[0].data == CheckedIn("ada", f"ada:{CANARY}")
        assert [step.to_state.nights for step in history] == [0, 1, 2, 3, 4]
        assert [state.data for state in (await cold.list_states(state="in")).states] == [written.data]
        await self.consistent(cold)
        assert CANARY.encode() not in await stored_bytes(store)

    @case
    async def test_what_was_erased_is_read_as_erased_everywhere_else_all_reads_on(self) -> None:
        store, keyring = self.open(), self.keyring()
        persister = self.protected(keyring, store, snapshot_every=2)
        await self.lodged(persister, "1", "ada")
        other = await self.lodged(persister, "2", "grace")
        info = await Face(keyring).erase("ada", "asked for it")
        assert info.subject is None
        assert info.reason == "asked for it"
        for reader in (persister, self.protected(keyring, store)):
            assert (await reader.load(GUESTS, "1")).data == Guest("in", "", 4)
            assert (await reader.load(GUESTS, "1", at_version=1)).data == Guest("in", "", 0)
            history = await reader.history(GUESTS, "1")
            assert history[0].data == Erased(action="CheckedIn", erased_at=info.erased_at, reason="asked for it")
            assert history[0].to_state == Guest("in", "", 0)
            assert [step.action for step in history] == ["CheckedIn"] + ["Stayed"] * 4
            listed = (await reader.list_states()).states
            assert [state.data.mail for state in listed] == ["", other.data.mail]
            assert {item.status for item in await reader.recover()} <= {"current", "rebuilt"}
            await self.consistent(reader)
            assert (await reader.load(GUESTS, "2")).data == other.data

    @case
    async def test_a_stream_goes_on_after_an_erasure(self) -> None:
        store, keyring = self.open(), self.keyring()
        persister = self.protected(keyring, store, snapshot_every=2)
        seen = await self.lodged(persister)
        await Face(keyring).erase("ada", "asked for it")
        after = await persister.append(GUESTS, "1", Stayed(3), expected=seen)
        assert after.data == Guest("in", "", 7), "a state that was loaded before brought erased data back"
        after = await persister.append(GUESTS, "1", CheckedIn("grace", "g"), expected=after)
        cold = self.protected(keyring, store)
        assert (await cold.load(GUESTS, "1")).data == after.data == Guest("in", ";g", 7)
        assert not (await cold.load(GUESTS, "1")).recovered, "the head was written without what is erased"
        assert await cold.create_snapshot(GUESTS, "1") == 7
        await self.consistent(cold)

    @case
    async def test_one_of_several_subjects_of_a_stream_is_erased(self) -> None:
        store, keyring = self.open(), self.keyring()
        persister = self.protected(keyring, store, snapshot_every=2)
        await persister.append(GUESTS, "1", CheckedIn("ada", "a"), CheckedIn("grace", "g"), Stayed(1), expected=0)
        state = await persister.append(GUESTS, "1", CheckedIn("ada", "b"), CheckedIn("joan", "j"), expected=3)
        assert state.data == Guest("in", ";a;g;b;j", 1)
        await Face(keyring).erase("joan", "asked for it")
        assert (await persister.load(GUESTS, "1")).data == Guest("in", ";a;g;b", 1)
        await Face(keyring).erase("ada", "asked for it")
        assert (await self.protected(keyring, store).load(GUESTS, "1")).data == Guest("in", ";g", 1)
        await self.consistent(persister)

    @case
    async def test_nothing_about_an_erased_subject_is_written(self) -> None:
        store, keyring = self.open(), self.keyring()
        persister = self.protected(keyring, store)
        state = await self.lodged(persister)
        await Face(keyring).erase("ada", "asked for it")
        with raises(SubjectErasedError) as caught:
            await persister.append(GUESTS, "1", CheckedIn("ada", CANARY), expected=state)
        assert CANARY not in str(caught.error)
        assert "ada" not in str(caught.error)
        with raises(SubjectErasedError):
            await persister.execute(GUESTS, "1", check_in_ada)
        assert (await persister.load(GUESTS, "1")).version == state.version

    @case
    async def test_a_lost_key_is_told_from_an_erased_one(self) -> None:
        store, keys = self.open(), self.aside()
        persister = self.protected(self.keyring(keys), store)
        await self.lodged(persister)
        page = await keys.scan(SECRET, GOVERNOR)
        await commit(keys, *(Delete(document.key, Require.ANY) for document in page.documents))
        cold = self.protected(self.keyring(keys), store)
        with raises(KeyLostError) as caught:
            await cold.load(GUESTS, "1")
        assert caught.error.key_id == page.documents[0].key.id
        with raises(KeyLostError):
            await cold.history(GUESTS, "1")
        report = await cold.validate_consistency()
        assert [finding.state_id for finding in report.findings] == ["guest-1"]

    @case
    async def test_another_keyring_reads_nothing(self) -> None:
        store = self.open()
        await self.lodged(self.protected(self.keyring(), store))
        with raises(KeyLostError):
            await self.protected(self.keyring(), store).load(GUESTS, "1")

    @case
    async def test_recorded_states_are_encrypted_under_the_subject_they_name(self) -> None:
        store, keyring = self.open(), self.keyring()
        persister = self.protected(keyring, store, snapshot_every=2)
        profile = {"owner": {"id": 17}, "mail": CANARY, "tags": list(range(40))}
        state = await persister.save_state("profile-1", profile, expected=0)
        state = await persister.update_state("profile-1", {**profile, "more": CANARY}, expected=state)
        assert state.data == {**profile, "more": CANARY}
        cold = self.protected(keyring, store)
        assert (await cold.load("profile-1")).data == state.data
        assert (await cold.load("profile-1", at_version=1)).data == profile
        assert CANARY.encode() not in await stored_bytes(store)
        await Face(keyring).erase("17", "asked for it")
        assert (await cold.load("profile-1")).data == {}
        await self.consistent(cold)
        again = await cold.save_state("profile-1", {"owner": {"id": 18}}, expected=2)
        assert (await persister.load("profile-1")).data == again.data == {"owner": {"id": 18}}

    @case
    async def test_a_subject_that_can_not_be_used_is_refused(self) -> None:
        store = self.open()
        persister = self.protected(self.keyring(), store)
        for value in ({"mail": CANARY}, {"owner": CANARY}, {"owner": {"id": ""}}, {"owner": {"id": True}}):
            with raises(EncodingError) as caught:
                await persister.save_state("profile-1", value, expected=0)
            assert "owner.id" in caught.error.path
            assert CANARY not in str(caught.error)
        with raises(EncodingError):
            await persister.append("profile-1", Event("noted", {"$encrypted": 1}), expected=0)
        assert not await persister.exists("profile-1")

    @case
    async def test_deleted_and_begun_anew(self) -> None:
        store, keyring = self.open(), self.keyring()
        persister = self.protected(keyring, store, snapshot_every=2)
        await self.lodged(persister, nights=1)
        await persister.delete_state(GUESTS, "1", expected=ANY)
        state = await persister.append(GUESTS, "1", CheckedIn("grace", "g"), Stayed(1), expected=3, reopen=True)
        assert state.version == 6
        assert (await self.protected(keyring, store).load(GUESTS, "1")).data == Guest("in", ";g", 1)
        await Face(keyring).erase("ada", "asked for it")
        assert (await self.protected(keyring, store).load(GUESTS, "1")).data == Guest("in", ";g", 1)
        await self.consistent(persister)

    @case
    async def test_commands_tell_nobody_what_was_in_them(self) -> None:
        store, keyring = self.open(), self.keyring()
        persister = self.protected(keyring, store)
        first = await persister.append(GUESTS, "1", CheckedIn("ada", CANARY), expected=0, idempotency_key="k")
        again = await self.protected(keyring, store).append(
            GUESTS, "1", CheckedIn("ada", CANARY), expected=0, idempotency_key="k"
        )
        assert (again.version, again.data) == (first.version, first.data)
        with raises(IdempotencyMismatchError):
            await persister.append(GUESTS, "1", CheckedIn("ada", "other"), expected=0, idempotency_key="k")
        assert CANARY.encode() not in await stored_bytes(store)

    @case
    async def test_transactions_leave_nothing_in_the_clear(self) -> None:
        store, keyring = self.open(), self.keyring()
        manager = TransactionManager if self.world.name == "sync" else AsyncTransactionManager
        face = Face(manager(store, governor=GOVERNOR, machines=[GUESTS, PROFILES], keyring=keyring))
        persister = self.protected(keyring, store)

        async def move_async(transaction: Any) -> str:
            await transaction.append(GUESTS, "1", CheckedIn("ada", CANARY), expected=0)
            await transaction.append(GUESTS, "1", Stayed(2), expected=1)
            await transaction.save_state("profile-1", {"owner": {"id": "ada"}, "mail": CANARY}, expected=0)
            return (await transaction.load(GUESTS, "1")).data.mail

        def move(transaction: Any) -> str:
            transaction.append(GUESTS, "1", CheckedIn("ada", CANARY), expected=0)
            transaction.append(GUESTS, "1", Stayed(2), expected=1)
            transaction.save_state("profile-1", {"owner": {"id": "ada"}, "mail": CANARY}, expected=0)
            return transaction.load(GUESTS, "1").data.mail

        def fail(_transaction: Any) -> None:
            raise ValueError(CANARY)

        async def fail_async(_transaction: Any) -> None:
            raise ValueError(CANARY)

        is_sync = self.world.name == "sync"
        operation = move if is_sync else move_async
        result = await face.execute_transaction(operation, idempotency_key="k", check_repeatable=True)
        assert result == f";{CANARY}"
        with raises(ValueError):
            await face.execute_transaction(fail if is_sync else fail_async)
        assert (await persister.load(GUESTS, "1")).data == Guest("in", f";{CANARY}", 2)
        assert CANARY.encode() not in await stored_bytes(store)
        await Face(keyring).erase("ada", "asked for it")
        assert (await persister.load(GUESTS, "1")).data == Guest("in", "", 2)
        assert (await persister.load("profile-1")).data == {}

    @case
    async def test_plain_streams_written_before_are_read_on(self) -> None:
        store, keyring = self.open(), self.keyring()
        before: Machine[Guest, Any] = Machine("guest", Guest(), lodge, state_of="status")
        plain = self.persister(store, machines=[before])
        await plain.append(before, "1", CheckedIn("ada", "a"), Stayed(1), expected=0)
        persister = self.protected(keyring, store)
        assert (await persister.load(GUESTS, "1")).data == Guest("in", ";a", 1)
        await persister.append(GUESTS, "1", CheckedIn("grace", CANARY), expected=2)
        assert (await persister.load(GUESTS, "1")).data == Guest("in", f";a;{CANARY}", 1)
        assert CANARY.encode() not in await stored_bytes(store)

    @case
    async def test_without_machine_or_keyring(self) -> None:
        store, keyring = self.open(), self.keyring()
        await self.lodged(self.protected(keyring, store))
        with raises(ConfigurationError):
            self.persister(store, machines=[GUESTS])
        plain = self.persister(store, machines=[])
        history = await plain.history("guest-1")
        assert CANARY not in str(history)
        await self.consistent(plain)


class KeyringCases(PrivacySuite):
    """Keys in the store that is tested, events in memory."""

    @case
    async def test_many_writers_make_one_key(self) -> None:
        keys, events = self.open(), self.aside()
        persister = self.protected(self.keyring(keys), events)

        def writer(number: int) -> Any:
            keyring = self.keyring(keys)

            async def call() -> None:
                await self.protected(keyring, events).append(GUESTS, f"{number}", CheckedIn("ada", "a"), expected=0)

            return call

        await self.together([writer(number) for number in range(self.writers)])
        assert len((await Face(self.keyring(keys)).info("ada")).key_ids) == 1
        for number in range(self.writers):
            assert (await persister.load(GUESTS, f"{number}")).data.mail == ";a"

    @case
    async def test_a_new_key_is_for_what_comes_after(self) -> None:
        keyring, events = self.keyring(self.open()), self.aside()
        persister = self.protected(keyring, events, snapshot_every=2)
        await self.lodged(persister, nights=1)
        old = (await Face(keyring).info("ada")).key_ids
        new = await Face(keyring).rotate("ada")
        state = await persister.append(GUESTS, "1", CheckedIn("ada", "again"), expected=2)
        assert (await Face(keyring).info("ada")).key_ids == (*old, new)
        last = (await events.scan(ENTRY, GOVERNOR, id="guest-1")).documents[-1].body
        assert orjson.loads(last)["e"][0]["data"]["$encrypted"]["keys"] == [new]
        assert (await self.protected(keyring, events).load(GUESTS, "1")).data == state.data
        await Face(keyring).erase("ada", "asked for it")
        assert (await persister.load(GUESTS, "1")).data == Guest("in", "", 1)

    @case
    async def test_erasing_again_changes_nothing(self) -> None:
        keyring = self.keyring(self.open())
        await self.lodged(self.protected(keyring, self.aside()))
        first = await Face(keyring).erase("ada", "asked for it")
        assert await Face(keyring).erase("ada", "again") == first
        assert await Face(keyring).info("ada") == first
        assert await Face(keyring).subjects() == [first]
        with raises(SubjectErasedError):
            await Face(keyring).rotate("ada")
        with raises(SubjectNotFoundError):
            await Face(keyring).erase("nobody", "asked for it")
        with raises(InvalidInputError):
            await Face(keyring).erase("ada", "")

    @case
    async def test_the_key_and_the_name_are_gone_from_the_keyring(self) -> None:
        keys = self.open()
        keyring = self.keyring(keys)
        await self.lodged(self.protected(keyring, self.aside()))
        before = (await keys.scan(SECRET, GOVERNOR)).documents[0]
        await Face(keyring).erase("ada", "asked for it")
        await Face(keyring).purge()
        bodies = [d.body for kind in (SECRET, SUBJECT, KEYRING) for d in (await keys.scan(kind, GOVERNOR)).documents]
        assert orjson.loads(before.body)["key"].encode() not in b"".join(bodies)
        assert b"ada" not in b"".join(bodies)

    @case
    async def test_others_learn_of_an_erasure(self) -> None:
        keys, events = self.open(), self.aside()
        here, there = self.keyring(keys), self.keyring(keys)
        persister = self.protected(there, events)
        await self.lodged(persister)
        await Face(here).erase("ada", "asked for it")
        assert (await persister.load(GUESTS, "1")).data == Guest("in", "", 4)
        with raises(SubjectErasedError):
            await persister.append(GUESTS, "1", CheckedIn("ada", "a"), expected=5)
        assert (await persister.append(GUESTS, "1", Stayed(1), expected=5)).data == Guest("in", "", 5)

    @case
    async def test_lost_answers_lose_no_key_and_leave_none(self) -> None:
        events, inner = self.aside(), self.open()
        for number, fault in enumerate((Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.DELAYED)):
            keys = FaultyStore(inner)
            keyring, id, subject = self.keyring(keys), f"{number}", f"guest {number}"
            persister = self.protected(keyring, events)
            keys.then(fault, fault)
            state = await persister.append(GUESTS, id, CheckedIn(subject, "a"), expected=0)
            keys.then(fault)
            newest = await Face(keyring).rotate(subject)
            state = await persister.append(GUESTS, id, CheckedIn(subject, "b"), expected=state)
            assert (await self.protected(self.keyring(inner), events).load(GUESTS, id)).data.mail == ";a;b"
            assert (await Face(keyring).info(subject)).key_ids[-1] == newest
            keys.then(fault)
            info = await Face(keyring).erase(subject, "asked for it")
            while keys.held:
                await keys.deliver()
            assert await Face(self.keyring(inner)).info(subject) == info
            assert (await persister.load(GUESTS, id)).data == Guest("in", "", 0)

    @case
    async def test_values_outside_of_streams(self) -> None:
        keyring = Face(self.keyring(self.open()))
        value = await keyring.encrypt("ada", {"mail": CANARY, "n": [1, 2.5, None]}, place="letters/1")
        assert CANARY not in str(value)
        assert await keyring.decrypt(value, place="letters/1") == {"mail": CANARY, "n": [1, 2.5, None]}
        with raises(DecryptionError):
            await keyring.decrypt(value, place="letters/2")
        with raises(DecryptionError):
            await keyring.decrypt({"mail": CANARY}, place="letters/1")
        with raises(KeyLostError):
            await Face(self.keyring()).decrypt(value, place="letters/1")
        info = await keyring.erase("ada", "asked for it")
        erased = await keyring.decrypt(value, place="letters/1")
        assert erased == Erased(action="letters/1", erased_at=info.erased_at, reason="asked for it")
        with raises(SubjectErasedError):
            await keyring.encrypt("ada", 1, place="letters/1")

    @case
    async def test_keys_are_of_one_governor(self) -> None:
        keys, events = self.open(), self.aside()
        await self.lodged(self.protected(self.keyring(keys), events))
        other = self.keyring(keys, governor="other")
        assert await Face(other).subjects() == []
        with raises(SubjectNotFoundError):
            await Face(other).erase("ada", "asked for it")
        with raises(ConfigurationError):
            self.protected(other, events)

    @case
    async def test_a_keyring_beside_its_events_is_refused(self) -> None:
        store = self.open()
        with raises(ConfigurationError):
            self.protected(self.keyring(store), store)
